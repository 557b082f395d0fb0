"""The real place of a file that an operator named, reached by links that may be trusted.

In a directory that several users may write, a planted link would lead one user to another's file.  A link is
followed when it belongs to root, to this user, or to the owner of the directory that holds it.
"""

from __future__ import annotations

import os
import stat

from taskd.base.errors import StorageError

_MOST_LINKS = 40  # as the kernel


def resolved(path: str) -> str:
    """Return an absolute path without symbolic links; the file itself may be absent.

    Raises: ``StorageError`` for a link of somebody else, and for root also one to nothing that is not root's.
    There root would make whatever file the owner of the link likes.
    """
    place = "/"
    foreign = ""
    ahead = path.split("/")[::-1]
    links = 0
    while ahead:
        name = ahead.pop()
        if name in ("", "."):
            continue
        if name == "..":
            place = os.path.dirname(place)
            continue
        here = os.path.join(place, name)
        try:
            target = os.readlink(here)
        except OSError:
            place = here  # not a link, or nothing yet
            continue
        links += 1
        if links > _MOST_LINKS:
            raise StorageError(f"{path}: more than {_MOST_LINKS} symbolic links; name the file itself")
        if _check(here, place) != 0:
            foreign = here
        ahead += target.split("/")[::-1]
        if target.startswith("/"):
            place = "/"
    if foreign and os.geteuid() == 0 and not os.path.lexists(place):
        raise StorageError(
            f"{foreign} is a symbolic link to nothing, and root makes no file there: "
            "name the file itself, or make it as its user first"
        )
    return place


def _check(link: str, directory: str) -> int:
    """Return the owner of a link.  Raises: ``StorageError`` when the link must not be followed."""
    owner = os.lstat(link).st_uid
    if owner in (0, os.geteuid(), os.stat(directory).st_uid):
        return owner
    raise StorageError(
        f"{link} is a symbolic link of user {owner} in a directory of another user; "
        f"name the file itself, or take the link over: chown -h {os.geteuid()} {link}"
    )


def open_directory(path: str) -> int:
    """Return a descriptor of a directory, never by way of a link at its end.  Raises: ``OSError``."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def own_socket(path: str) -> int:
    """Return a descriptor of the socket that this user has just made here, for ``by_descriptor``.

    Raises: ``OSError``, also when somebody has put something else in its place.
    """
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(fd)
    if stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid():
        return fd
    os.close(fd)
    raise FileExistsError(0, "somebody has replaced the socket", path)


def by_descriptor(fd: int) -> str:
    """Return a path that leads to what is open there, whatever its name has become."""
    return f"/proc/self/fd/{fd}"
