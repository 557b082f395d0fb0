"""One daemon for each control socket: a lock beside the socket, and the listening socket itself.

The lock is flock(2) on ``<socket>.lock``.  The kernel gives it back however the holder ends, so there is no
stale lock, and a socket file that is found while holding it is known to be stale.  The lock file stays when
the daemon ends: removing it would let two starting daemons lock different files.
"""

from __future__ import annotations

import fcntl
import grp
import os
import socket
import stat

from taskd.base import own_files
from taskd.base.errors import ControlError

# sockaddr_un(7): 108 bytes with the terminating zero.
_LONGEST_PATH_BYTES = 107
_BACKLOG = 128


class ControlSocket:
    """Holds the lock and listens; ``close`` removes the socket file and gives the lock back."""

    def __init__(self, path: str, *, mode: int = 0o600, group: str = "") -> None:
        """Take the socket; its file gets the permissions ``mode`` and, if named, the ``group``.

        Raises: ``ControlError`` when another daemon holds it, or when it cannot be made there.
        """
        self.path = path
        if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
            raise ControlError(
                f"control socket {path}: the path is {len(os.fsencode(path))} bytes long, Unix sockets allow "
                f"{_LONGEST_PATH_BYTES}; set supervisor.control_socket to a shorter one"
            )
        self._lock_fd = -1
        try:
            # For a daemon that is started by hand; under systemd RuntimeDirectory= made it.
            os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o755, exist_ok=True)
            self._lock_fd = _lock(path)
            self.socket = _listen(path, mode, group)
            self._identity = _identity(path)
        except ControlError:
            self._unlock()
            raise
        except OSError as error:
            self._unlock()
            raise ControlError(
                f"control socket {path} cannot be made: {error.strerror or error}; "
                "make its directory writable for this user, or set supervisor.control_socket"
            ) from error

    def close(self) -> None:
        """Stop listening, and let another daemon take the socket."""
        self.socket.close()
        try:
            if _identity(self.path) == self._identity:  # else it is somebody else's by now
                os.unlink(self.path)
        except OSError:
            pass  # somebody removed it, or the directory: nothing is left to do
        self._unlock()

    def _unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _lock(path: str) -> int:
    fd = own_files.open_own(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600, is_ours=_is_a_pid)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise ControlError(
            f"another taskd (pid {holder}) uses the control socket {path}; "
            "stop that one, or set supervisor.control_socket to another path"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _is_a_pid(beginning: bytes) -> bool:
    return not beginning.strip() or beginning.strip().isdigit()


def _make_way(path: str) -> None:
    """Remove a socket that answers to nobody; the lock says that no taskd uses it.  Never anything else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    remedy = "move it away, or set supervisor.control_socket to another path"
    if not stat.S_ISSOCK(mode):
        raise ControlError(f"control socket {path}: something that is not a socket lies there; {remedy}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as asking:
        try:
            asking.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            os.unlink(path)  # left by a daemon that was killed
            return
        except OSError:
            pass  # a full queue, or a socket of another kind: somebody is there
    raise ControlError(f"control socket {path}: another program listens there; stop it, or {remedy}")


def _listen(path: str, mode: int, group: str) -> socket.socket:
    _make_way(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    # For the owner alone from the first moment (bind obeys the umask); others once the group is right.
    former = os.umask(0o177)
    try:
        listening.bind(path)
        _give_to_group(path, group)
        os.chmod(path, mode)
        listening.listen(_BACKLOG)
    except (OSError, ControlError):
        listening.close()
        raise
    finally:
        os.umask(former)
    return listening


def _give_to_group(path: str, group: str) -> None:
    if not group:
        return
    try:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise ControlError(
            f"control socket {path}: there is no group {group!r} on this machine; "
            "create it (groupadd), or change control.socket_group"
        ) from None
    if os.stat(path).st_gid == gid:
        return  # the directory's set-group-id bit did it
    try:
        os.chown(path, -1, gid)
    except OSError as error:
        raise ControlError(
            f"control socket {path} cannot be given to the group {group!r} ({error.strerror}): taskd must be "
            "a member, and its unit must allow chown (the drop-in socket-group.conf does both)"
        ) from error
