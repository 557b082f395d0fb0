"""What root makes beside a daemon's files belongs to the daemon's user.

``taskctl queues`` before the first start, typed by root, would otherwise leave a file that the daemon
can never write.  SQLite does the same for the files that it makes beside a database.  Nothing here
raises: who is not root, or may not change owners, goes on as if it were not there.
"""

from __future__ import annotations

import os
from contextlib import suppress

from taskd.storage.places import by_descriptor


def make_for_the_directory(path: str) -> None:
    """Let root make a new file for the owner of its directory, unless that is root too.

    Nothing is done to a file that is there: to open and close it would take SQLite's locks away.
    """
    if os.geteuid() != 0:
        return
    with suppress(OSError):
        directory = os.stat(os.path.dirname(path))
        if directory.st_uid == 0:
            return
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            os.fchown(fd, directory.st_uid, directory.st_gid)
        finally:
            os.close(fd)


def give_to_the_owner_of(model: str, fd: int) -> None:
    """Let what root has just made, and has open, belong to whom ``model`` belongs."""
    if os.geteuid() != 0:
        return
    with suppress(OSError):
        owner = os.stat(model)
        if owner.st_uid != 0:
            os.chown(by_descriptor(fd), owner.st_uid, owner.st_gid)
