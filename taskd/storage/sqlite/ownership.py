"""The owner of a new file: its user or its group, never everybody; files that root makes are the daemon's.

A database holds the arguments of tasks, so the users of the machine have no part in it, whatever the umask.
Where the umask leaves the group its rights, as where programs of several users share one, so does this.

``taskctl queues`` before the first start, typed by root, would otherwise leave a file that the daemon
can never write.  SQLite does the same for the files that it makes beside a database.  Nothing here
raises: a user who may not change owners goes on as if it were not there.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from taskd.storage.sqlite.places import by_descriptor

_SHARED = 0o660
_PRIVATE = 0o600
_SHARING = stat.S_ISGID | stat.S_IWGRP


def make_private(path: str) -> None:
    """Make a new file, 0660 or 0600; by root for the directory's owner.

    0660 where the umask lets a group write, and in a directory that a group shares (set-group-ID).

    Nothing is done to a file that is there: to open and close it would take SQLite's locks away.
    """
    with suppress(OSError):
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _SHARED)
        try:
            directory = os.stat(os.path.dirname(path))
            if directory.st_mode & _SHARING == _SHARING:
                os.fchmod(fd, _SHARED)
            elif os.fstat(fd).st_mode & _SHARED != _SHARED:
                os.fchmod(fd, _PRIVATE)
            if os.geteuid() == 0 != directory.st_uid:
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
