"""Memory that a process of a worker program leaves to its successor.

The worker notes in it which tasks run (``taskd.worker.ledger``).  The supervisor makes it and passes it on,
and reads nothing of it: a process that runs tasks may write anything there.

Each process gets new memory beside that of its predecessor, so that a child of the predecessor that is still
about writes into nothing that is in use.  Nothing is passed on from one user to another.
"""

from __future__ import annotations

import fcntl
import os

# Room for 32,000 slots; memory is taken only for what is written.  The worker does not size it itself: that
# would end it where its table limits the size of files.
_BYTES = 1 << 21
# Sealed: whoever runs tasks can neither have the supervisor keep more, nor take it from under others.
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Legacy:
    """The memory of one program, from its first process to its removal."""

    def __init__(self) -> None:
        self._user = ""
        self._fds: list[int] = []

    def for_next(self, user: str) -> tuple[int, ...]:
        """Return the descriptors (close-on-exec) for the next process: its own, then its predecessor's.

        The second is missing where no process of this user came before.  Raises: ``OSError``.
        """
        if user != self._user:
            self.close()
            self._user = user
        new = os.memfd_create("taskd-ledger", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(new, _BYTES)
            fcntl.fcntl(new, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:
            os.close(new)
            raise
        for fd in self._fds[1:]:
            os.close(fd)
        self._fds = [new, *self._fds[:1]]
        return tuple(self._fds)

    def take_back(self) -> None:
        """Forget the newest memory: no process was made for it, so the one before has the successor yet."""
        os.close(self._fds.pop(0))

    def close(self) -> None:
        """Forget everything: the program is removed, or another user's."""
        while self._fds:
            os.close(self._fds.pop())
