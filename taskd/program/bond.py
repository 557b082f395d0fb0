"""The supervised program's side of its bond with the supervisor: dying with it, and reporting to it.

Worker and beat share it.  The lines themselves are ``taskd.protocol.status``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from taskd.base.loop import Loop
from taskd.host import prctl, stacks
from taskd.protocol.status import (
    STATUS_FD_VARIABLE,
    SUPERVISOR_PID_VARIABLE,
    LastWords,
    StatusLine,
    encode_line,
)

#: A supervisor that reads nothing for this much is hung; further lines are dropped, whole.
_MAX_UNSENT_BYTES = 1 << 20
_MAX_DETAIL = 100_000


def die_with_supervisor() -> None:
    """Have the kernel end this process with its supervisor.  Without one it changes nothing."""
    supervisor = os.environ.pop(SUPERVISOR_PID_VARIABLE, "")
    if supervisor.isdigit():
        prctl.die_with_parent(int(supervisor))


def show_stacks() -> None:
    """Have the stacks written to standard error, at a crash and at SIGUSR2.

    The supervisor asks for them before it kills a program that hangs.  Call it first: it works then
    even while the import of the task code hangs, or C code holds the interpreter's lock.
    """
    stacks.write_at_a_crash()
    stacks.write_at(signal.SIGUSR2)


class Reporter:
    """A program's end of the status descriptor.  Never blocks, but for the last words.

    Without a descriptor (a test, a debugger) it says nothing.
    """

    def __init__(self, environ: dict[str, str] | os._Environ[str] = os.environ) -> None:
        number = environ.pop(STATUS_FD_VARIABLE, "")
        self._fd = int(number) if number.isdigit() else -1
        self._loop: Loop | None = None
        self._on_gone: Callable[[], None] = _nothing
        self._unsent = bytearray()
        if self._fd >= 0:
            os.set_blocking(self._fd, False)
            os.set_inheritable(self._fd, False)

    def attach(self, loop: Loop, on_gone: Callable[[], None]) -> None:
        """Send from this loop what a full pipe does not take at once.

        ``on_gone`` is called when nobody reads any more: the supervisor is dead, and this process
        must end too even where the kernel's death signal does not reach it.
        """
        self._loop = loop
        self._on_gone = on_gone

    def detach(self) -> None:
        """Leave the loop, which is about to close."""
        self._watch(writable=False)
        self._loop = None

    def report(self, line: StatusLine) -> None:
        """Send one line, now if the pipe has room, in order in any case."""
        if self._fd < 0 or len(self._unsent) > _MAX_UNSENT_BYTES:
            return
        self._unsent += encode_line(line)
        self._send()

    def _send(self) -> None:
        try:
            del self._unsent[: os.write(self._fd, self._unsent)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self.close()
            self._on_gone()
            return
        self._watch(writable=bool(self._unsent))

    def _watch(self, *, writable: bool) -> None:
        if self._loop is None or self._fd < 0:
            return
        if writable:
            self._loop.add_writer(self._fd, self._send)
        else:
            self._loop.remove_writer(self._fd)

    def last_words(self, reason: str, detail: str = "") -> None:
        """Send the last line and close; waits for the pipe, as there is nothing else left to do."""
        if self._fd >= 0:
            os.set_blocking(self._fd, True)
            # The supervisor refuses longer lines; of a traceback the end tells most.
            self.report(LastWords(reason, detail[-_MAX_DETAIL:]))
            self.close()

    def close(self) -> None:
        """Send no more."""
        if self._fd >= 0:
            self._watch(writable=False)
            os.close(self._fd)
            self._fd = -1
            self._unsent.clear()


def _nothing() -> None:
    """Nobody has asked yet to be told."""
