"""Wake-ups between processes that share one file: datagrams to sockets in ``<file>.wake/``.

Each listener binds one socket there, named ``<id>.<topics>`` (topics are numbers joined by ``-``,
or ``all``).  A process that has committed sends one byte to each socket whose topics it touched, without
blocking.  A full socket is awake already, a refused one is dead and is removed.  A wake-up may be lost (the
directory was deleted, permissions differ), so listeners must also look by themselves now and then; none is
ever needed for correctness.

Why a name and not a registry table: publishing looks at one directory's mtime instead of reading
and decoding rows, and a dead process leaves nothing that locks.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple
from uuid import uuid4

from taskd.base import clock
from taskd.base.errors import StorageError
from taskd.storage.sqlite.ownership import give_to_the_owner_of
from taskd.storage.sqlite.places import by_descriptor, open_directory, own_socket

_EVERYTHING = "all"
_PATH_LIMIT_BYTES = 107  # sockaddr_un.sun_path without its terminating zero
_NAME_LIMIT_BYTES = 80
# Directory times move in steps of a kernel tick (1 to 10 ms).  An entry made in the same tick as a listing
# would never be noticed, so a listing is kept only when the directory is older than this.
_SETTLED_S = 0.1


def directory_of(path: str) -> str:
    """Return the wake directory of a database file: one, by whatever links it is reached."""
    return os.path.realpath(path) + ".wake"


def _make_directory(path: str) -> None:
    """Make the wake directory.  Raises: ``OSError``, also when a link leads from there to elsewhere."""
    directory = directory_of(path)
    mode = stat.S_IMODE(os.stat(path).st_mode)
    with suppress(FileExistsError):
        os.mkdir(directory)
        fd = open_directory(directory)
        try:
            give_to_the_owner_of(path, fd)
            # Users who may write the database may wake and be woken: rw becomes rwx.
            wanted = mode | (mode & 0o444) >> 2
            # Not when it is right already: chmod would clear a set-group-ID bit that was inherited.
            if stat.S_IMODE(os.fstat(fd).st_mode) & 0o777 != wanted:
                os.fchmod(fd, wanted)
        finally:
            os.close(fd)
        return
    if not _is_directory(directory):
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", directory)


def _is_directory(path: str) -> bool:
    """Return whether this is a directory itself, and not a link to one."""
    return stat.S_ISDIR(os.lstat(path).st_mode)


class _Listed(NamedTuple):
    """One socket of the directory; ``topics`` None for all."""

    name: str
    topics: frozenset[int] | None


class _Address:
    """The directory as a prefix of socket addresses, however long its path is."""

    def __init__(self, directory: str) -> None:
        self._fd = -1
        self.prefix = directory
        if len(os.fsencode(directory)) + 1 + _NAME_LIMIT_BYTES > _PATH_LIMIT_BYTES:
            self._fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.prefix = f"/proc/self/fd/{self._fd}"

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class WakeListener:
    """One socket to select on.  ``topics`` None listens to everything."""

    def __init__(self, path: str, topics: Iterable[int] | None = None, *, listener_id: str = "") -> None:
        """Raises: ``StorageError`` when the directory cannot be made or written."""
        self.id = listener_id or new_listener_id()
        self._directory = directory_of(path)
        self._pid = os.getpid()
        self._name = _name(self.id, topics)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # the flag SOCK_NONBLOCK would not reach gevent's socket
        try:
            _make_directory(path)
            self._bind(path)
        except OSError as error:
            self._socket.close()
            raise StorageError(
                f"{self._directory}: cannot listen for wake-ups here ({error.strerror}); "
                f"it must be a directory that user {os.geteuid()} may write"
            ) from error

    def _bind(self, path: str) -> None:
        address = _Address(self._directory)
        try:
            self._socket.bind(f"{address.prefix}/{self._name}")
        finally:
            address.close()
        fd = own_socket(os.path.join(self._directory, self._name))
        try:
            give_to_the_owner_of(path, fd)
            os.chmod(by_descriptor(fd), stat.S_IMODE(os.stat(path).st_mode))
        finally:
            os.close(fd)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable on a wake-up."""
        return self._socket.fileno()

    def listen_to(self, topics: Iterable[int] | None) -> None:
        """Change the topics; the descriptor stays.  Wake-ups during the call may be lost."""
        name = _name(self.id, topics)
        if name == self._name:
            return
        try:
            os.rename(os.path.join(self._directory, self._name), os.path.join(self._directory, name))
        except FileNotFoundError:
            return  # somebody emptied the directory: only the slow look is left
        self._name = name

    def clear(self) -> None:
        """Make the descriptor unreadable until the next wake-up."""
        receive = self._socket.recv
        try:
            while True:
                receive(16)
        except (BlockingIOError, ConnectionError):
            pass

    def close(self) -> None:
        """Remove the socket.  May be called twice."""
        if self._socket.fileno() >= 0:
            self._socket.close()
            if self._pid == os.getpid():
                _unlink(os.path.join(self._directory, self._name))


class WakeSender:
    """Wakes the listeners of one file.  Not thread-safe."""

    def __init__(self, path: str) -> None:
        self._directory = directory_of(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._address: _Address | None = None
        self._listed_mtime_ns = -1
        self._listed: list[_Listed] = []
        self._probed: dict[str, bool] = {}

    def wake(self, topics: Iterable[int] | None = None) -> None:
        """Wake whoever listens to one of the topics (None: everybody).  Never blocks or raises."""
        for name, wanted in self._listeners():
            if topics is None or wanted is None or not wanted.isdisjoint(topics):
                self._send(name)

    def anyone(self) -> bool:
        """Return whether there may be a listener; one stat(2) when nothing changed."""
        return bool(self._listeners())

    def is_alive(self, listener_id: str) -> bool:
        """Return whether a listener's process still has its socket open (which wakes it)."""
        self._listed_mtime_ns = -1
        return any(self._send(name) for name, _ in self._listeners() if name.startswith(listener_id + "."))

    def _listeners(self) -> list[_Listed]:
        try:
            found = os.lstat(self._directory)
            mtime_ns = found.st_mtime_ns
            if mtime_ns != self._listed_mtime_ns:
                names = os.listdir(self._directory) if stat.S_ISDIR(found.st_mode) else []
                if self._address is not None:
                    self._address.close()
                self._address = _Address(self._directory)
                listed = [each for name in names if (each := _parse(name)) is not None]
                self._probe(each.name for each in listed)
                self._listed = [each for each in listed if self._probed[each.name]]
                settled = abs(clock.now() - mtime_ns / 1e9) > _SETTLED_S
                self._listed_mtime_ns = mtime_ns if settled else -1
        except OSError:
            return []  # nobody has listened yet, or may not be woken by this user
        return self._listed

    def _probe(self, names: Iterable[str]) -> None:
        """Find out once for each listener whether anybody has its socket open, and sweep the others.

        Sockets whose topics nobody touches are never sent to, and would lie there for good.
        """
        assert self._address is not None
        former, self._probed = self._probed, {}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            for name in names:
                alive = former.get(name)
                if alive is None:
                    alive = _is_open(probe, f"{self._address.prefix}/{name}")
                    if not alive:
                        _unlink(os.path.join(self._directory, name))
                self._probed[name] = alive

    def _send(self, name: str) -> bool:
        assert self._address is not None
        try:
            self._socket.sendto(b"\0", f"{self._address.prefix}/{name}")
        except BlockingIOError:
            return True  # its queue is full: it will wake
        except ConnectionRefusedError:
            _unlink(os.path.join(self._directory, name))
            return False
        except OSError:
            return False  # closed since the listing, or not ours to wake
        return True

    def close(self) -> None:
        """Release the descriptors.  May be called twice."""
        self._socket.close()
        if self._address is not None:
            self._address.close()
            self._address = None
        self._listed_mtime_ns = -1


def _is_open(probe: socket.socket, address: str) -> bool:
    """Return whether somebody has a socket open; it is not woken by that."""
    try:
        probe.connect(address)
    except ConnectionRefusedError:
        return False
    except OSError:
        return True  # not ours to wake, or gone since the listing: sending will tell
    return True


def new_listener_id() -> str:
    """Return a name that no other listener ever has."""
    return f"{os.getpid()}-{uuid4().hex[:12]}"


def _name(listener_id: str, topics: Iterable[int] | None) -> str:
    if topics is not None:
        name = f"{listener_id}.{'-'.join(map(str, sorted(topics)))}"
        if len(name) <= _NAME_LIMIT_BYTES:
            return name
    return f"{listener_id}.{_EVERYTHING}"


def _parse(name: str) -> _Listed | None:
    """Return the listener that a directory entry names, None when it is something else."""
    _, separator, topics = name.rpartition(".")
    if topics == _EVERYTHING:
        return _Listed(name, None)
    try:
        return _Listed(name, frozenset(map(int, filter(None, topics.split("-"))))) if separator else None
    except ValueError:
        return None


def _unlink(path: str) -> None:
    try:
        # Only sockets: connecting to a plain file that lies there is refused too.
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except OSError:
        pass  # removed by somebody else, or not ours to remove
