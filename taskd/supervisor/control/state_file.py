"""The last known state of the daemon, for ``taskctl status`` when nobody answers any more.

A small JSON file beside the control socket, replaced as a whole (rename(2)), so a reader never sees
half of one.  Changes are written together, at most once a second.  There is no fsync, because the file says
nothing that matters after a crash of the machine.  Beside a socket in /run it is memory anyway, so no disk
can stop the loop.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping

import msgspec

from taskd.base import clock
from taskd.base.lifecycle import Deadline, OneLife
from taskd.base.loop import Loop, LoopTimer, Owner
from taskd.base.own_files import open_own, refuse_foreign
from taskd.protocol.status import Trouble

_log = logging.getLogger(__name__)

_AT_MOST_EVERY_S = 1.0
_AFTER_AN_ERROR_S = 10.0
_SUFFIX = ".state"


def state_path(control_socket: str) -> str:
    """Return where the daemon of a control socket leaves its state."""
    return control_socket + _SUFFIX


def _is_ours(beginning: bytes) -> bool:
    return not beginning or beginning.startswith(b'{"written":')


class StateFile:
    """Writes ``state()`` soon after ``changed``.  For the loop's thread; a disk that is full is logged once.

    ``mode`` is that of the socket: whoever may ask the daemon may read the file.  Only its owner writes it.
    """

    def __init__(
        self, loop: Loop, path: str, state: Callable[[], Mapping[str, object]], *, mode: int = 0o600
    ) -> None:
        self._loop = loop
        self._path = path
        self._state = state
        # To connect to a socket takes its write bit: of the file that means no more than to read.
        self._mode = 0o600 | (mode | (mode & 0o022) << 1) & 0o044
        self._timer: LoopTimer | None = None
        self._not_before = 0.0
        #: Since when it cannot be written, and why.
        self.trouble: Trouble | None = None
        self._life = OneLife()

    def start(self) -> None:
        """Write changes from now on."""
        self._life.begin()

    def changed(self) -> None:
        """Write the state: now when the last time is long enough ago, else when it is."""
        if self._timer is None and self._life.takes:
            self._timer = self._loop.call_at(
                self._not_before, self._write, Owner("the state file", self._try_later)
            )

    def _try_later(self, _why: str) -> None:
        self._timer = None
        self._not_before = clock.monotonic() + _AFTER_AN_ERROR_S
        self.changed()

    def quiet(self) -> None:
        """Write no further change, but the end."""
        self._life.calm()
        self._forget_changes()

    def stop(self, deadline: Deadline) -> None:
        """Write what is true at the end, and that this was the end."""
        self._forget_changes()
        if self._life.end():
            self._write(ended=True)

    def kill(self) -> None:
        """Leave the file as it is."""
        self._forget_changes()
        self._life.end()

    def _forget_changes(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write(self, *, ended: bool = False) -> None:
        self._timer = None
        self._not_before = clock.monotonic() + _AT_MOST_EVERY_S
        data = msgspec.json.encode({"written": clock.now(), "ended": ended, **self._state()})
        draft = f"{self._path}.new"
        try:
            refuse_foreign(self._path, _is_ours)
            fd = open_own(draft, os.O_RDWR | os.O_CREAT, 0o600, is_ours=_is_ours)
            try:
                os.ftruncate(fd, 0)
                os.fchmod(fd, self._mode)
                os.write(fd, data)
            finally:
                os.close(fd)
            os.rename(draft, self._path)
            self.trouble = None
        except OSError as error:
            if self.trouble is None:
                text = (
                    f"the state file {self._path} cannot be written: {error.strerror}; make room there, or "
                    "let the user of taskd write the directory"
                )
                _log.warning("%s", text)
                self.trouble = Trouble(text, clock.now())
