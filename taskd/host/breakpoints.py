"""``breakpoint()`` in a task reaches the terminal in which the daemon runs in the foreground.

Programs have no terminal of their own: /dev/null for input, a pipe for output, a session of their own.  So a
Ctrl-C ends the daemon in order and not them at once.  So the daemon says in the environment which terminal it
has, and pdb opens that one, from any pool; several processes take turns.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from types import FrameType, TracebackType
from typing import TextIO

_logger = logging.getLogger(__name__)

_TERMINAL_VARIABLE = "TASKD_TERMINAL"


def offer_terminal() -> None:
    """Name the terminal at standard input, if there is one, to what this process starts."""
    os.environ.pop(_TERMINAL_VARIABLE, None)
    if os.isatty(0):
        os.environ[_TERMINAL_VARIABLE] = os.ttyname(0)


def use_terminal() -> None:
    """Have ``breakpoint()`` of this process ask at the daemon's terminal; PYTHONBREAKPOINT goes before."""
    if os.environ.get(_TERMINAL_VARIABLE) and "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = _stop_here


def _stop_here(*_args: object, **_kwargs: object) -> None:
    import pdb

    class Debugger(pdb.Pdb):
        """Asks while no other process does."""

        def __init__(self, terminal: TextIO, answers: TextIO) -> None:
            super().__init__(stdin=answers, stdout=terminal, nosigint=True)
            self._terminal = terminal

        def interaction(self, frame: FrameType | None, traceback: TracebackType | None) -> None:
            fcntl.flock(self._terminal.fileno(), fcntl.LOCK_EX)
            try:
                self.message(f"\nprocess {os.getpid()} stops at a breakpoint; c goes on")
                super().interaction(frame, traceback)
            finally:
                fcntl.flock(self._terminal.fileno(), fcntl.LOCK_UN)

    name = os.environ[_TERMINAL_VARIABLE]
    try:
        # Not to become its controlling process, which a Ctrl-C would then be meant for.
        answers, terminal = (os.open(name, mode | os.O_NOCTTY) for mode in (os.O_RDONLY, os.O_WRONLY))
    except OSError as error:
        _logger.warning("breakpoint passed, for the terminal %s can not be opened: %s", name, error.strerror)
        return
    debugger = Debugger(os.fdopen(terminal, "w"), os.fdopen(answers))
    debugger.set_trace(sys._getframe(1))
