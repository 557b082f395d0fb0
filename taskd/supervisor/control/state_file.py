"""The last known state of the daemon, for ``taskctl status`` when nobody answers any more.

A small JSON file beside the control socket, replaced as a whole (rename(2)), so a reader never sees
half of one.  Changes are written together, at most once a second.  There is no fsync, because the file
says nothing that matters after a crash of the machine; beside a socket in /run it is memory anyway,
so no disk can stop the loop.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping

import msgspec

from taskd import clock
from taskd.loop import Loop, Timer

_log = logging.getLogger(__name__)

_AT_MOST_EVERY_S = 1.0
_SUFFIX = ".state"


def state_path(control_socket: str) -> str:
    """Return where the daemon of a control socket leaves its state."""
    return control_socket + _SUFFIX


class StateFile:
    """Writes ``state()`` soon after ``changed``.  For the loop's thread; a disk that is full is logged once.

    ``mode`` is that of the socket: whoever may ask the daemon may read the file.
    """

    def __init__(
        self, loop: Loop, path: str, state: Callable[[], Mapping[str, object]], *, mode: int = 0o600
    ) -> None:
        self._loop = loop
        self._path = path
        self._state = state
        self._mode = mode & 0o666
        self._timer: Timer | None = None
        self._not_before = 0.0
        self._failed = False

    def changed(self) -> None:
        """Write the state: now when the last time is long enough ago, else when it is."""
        if self._timer is None:
            self._timer = self._loop.call_at(self._not_before, self._write)

    def close(self) -> None:
        """Write what is true at the end, and that this was the end."""
        if self._timer is not None:
            self._timer.cancel()
        self._write(ended=True)

    def _write(self, *, ended: bool = False) -> None:
        self._timer = None
        self._not_before = clock.monotonic() + _AT_MOST_EVERY_S
        data = msgspec.json.encode({"written": clock.now(), "ended": ended, **self._state()})
        draft = f"{self._path}.new"
        try:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(fd, self._mode)
                os.write(fd, data)
            finally:
                os.close(fd)
            os.rename(draft, self._path)
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.warning("the state file %s cannot be written: %s", self._path, error)
            self._failed = True
