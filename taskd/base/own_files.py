"""Opening the files that taskd keeps beside its own: never through a link, and never somebody else's.

A directory that others may write to may hold a link, a FIFO or another's file under the name that taskd is
about to use.  A file that taskd itself would not have written is refused, and not touched.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

# More than any of the beginnings by which such files are known.
_BEGINNING_BYTES = 256


def open_own(path: str, flags: int, mode: int, *, is_ours: Callable[[bytes], bool] | None = None) -> int:
    """Open a plain file; close-on-exec, and no link is followed.

    ``is_ours`` gets how the file begins, empty for a new one; ``flags`` must then allow to read it.
    Raises: ``OSError``, also for a link, for anything but a plain file, and for one that is not ours.
    """
    # O_NONBLOCK: a FIFO without a reader would hold whoever opens it.
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EEXIST, "it is not a plain file", path)
        if is_ours is not None and not is_ours(os.pread(fd, _BEGINNING_BYTES, 0)):
            raise OSError(errno.EEXIST, "the file there is not one of taskd's", path)
        os.set_blocking(fd, True)
    except OSError:
        os.close(fd)
        raise
    return fd


def refuse_foreign(path: str, is_ours: Callable[[bytes], bool]) -> None:
    """Refuse to replace a file that is not ours; nothing at ``path`` is as good as one of ours.

    Raises: ``OSError``.
    """
    try:
        fd = open_own(path, os.O_RDONLY, 0, is_ours=is_ours)
    except FileNotFoundError:
        return
    os.close(fd)
