"""One log file that is rotated by size: ``mail-1.log``, before it ``mail-1.log.1``, ``.2`` and so on."""

from __future__ import annotations

import os

from taskd.base import clock
from taskd.base.own_files import open_own

_MODE = 0o640
#: Lines written to a file after its name was taken away are lost, for at most this long.
_LOOK_EVERY_S = 1.0


class RotatedFile:
    """Appends; blocks as long as the disk does.  Every method may raise ``OSError``.

    ``max_bytes`` 0 never rotates; with ``backups`` 0 a full file is begun anew.
    """

    def __init__(self, path: str, *, max_bytes: int, backups: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._fd = -1
        self._size = 0
        self._looked_at = 0.0

    def write(self, data: bytes) -> None:
        """Append whole lines, rotating first when they would make the file too large."""
        if self._fd >= 0 and self._is_away():
            self.close()
        if self._fd < 0:
            self._open()
        if self._max_bytes and self._size and self._size + len(data) > self._max_bytes:
            self._rotate()
        view = memoryview(data)
        size = self._size
        try:
            while view:
                count = os.write(self._fd, view)
                self._size += count
                view = view[count:]
        except OSError:
            self._cut(size)
            raise

    def _cut(self, size: int) -> None:
        """Take back the part of a line that a full disk still had room for: the next one begins a line."""
        try:
            os.ftruncate(self._fd, size)
            self._size = size
        except OSError:
            pass  # the error that led here is told

    def _is_away(self) -> bool:
        """Return whether the name means another file by now, or none: somebody deleted or moved it."""
        now = clock.monotonic()
        if now < self._looked_at + _LOOK_EVERY_S:
            return False
        self._looked_at = now
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return True
        return not os.path.samestat(there, os.fstat(self._fd))

    def close(self) -> None:
        """Close the file; the next write opens it by its name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._fd = open_own(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _MODE)
        self._size = os.fstat(self._fd).st_size
        self._looked_at = clock.monotonic()

    def _rotate(self) -> None:
        self.close()
        if not self._backups:
            os.unlink(self._path)
        for number in range(self._backups, 0, -1):
            older = f"{self._path}.{number}"
            newer = f"{self._path}.{number - 1}" if number > 1 else self._path
            if os.path.exists(newer):
                os.replace(newer, older)
        self._open()
