r"""The pushes to lists that a Redis server carries out for all its clients (MONITOR).

A line is ``1339518083.1 [0 127.0.0.1:60866] "LPUSH" "key" "value"``: the time, the database, the client, the
words as the server quotes them.  The server keeps what a slow reader has not taken, without a bound.  So a
thread reads as fast as it can, and keeps what it is asked for in a bounded space.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from threading import Condition, Lock, Thread

from redis.exceptions import RedisError as LibraryError

from taskd.base.errors import StorageError
from taskd.base.wakeup import Wakeup
from taskd.storage.redis.address import Address
from taskd.storage.redis.errors import translate
from taskd.storage.redis.line import Line

#: Pushed values that nobody has received yet; more are dropped and counted.
_MOST_BYTES = 64 << 20
_MOST_MARKS = 100
_LONGEST_MARK = 200

_PUSHES = frozenset({b"LPUSH", b"RPUSH"})
_WORD = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_QUOTED = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
_MARK = re.compile(rb'\] "ECHO" "([0-9a-f]+)"$')
_NAMED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


def pushed(line: bytes, database: int, keys: Collection[bytes]) -> tuple[bytes, Sequence[bytes]] | None:
    """Return the key and the values of a push to one of the keys, as they were; None for another line."""
    start = line.find(b'] "')
    if start < 0:
        return None
    end = line.find(b'"', start + 3)
    if line[start + 3 : end].upper() not in _PUSHES:
        return None
    if line[line.find(b"[") + 1 : start].partition(b" ")[0] != b"%d" % database:
        return None
    key = _WORD.search(line, end + 1)
    if key is None or (name := _unquoted(key[1])) not in keys:
        return None
    return name, [_unquoted(found[1]) for found in _WORD.finditer(line, key.end())]


def _unquoted(text: bytes) -> bytes:
    return _QUOTED.sub(_meant, text) if b"\\" in text else text


def _meant(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    return bytes((int(escape[1:], 16),)) if len(escape) > 1 else _NAMED.get(escape, escape)


class Monitor:
    """Hears pushes to some lists from the moment on at which it is made.  It sends nothing but MONITOR.

    Raises: ``StorageError`` when it cannot connect, or the user may not.
    """

    def __init__(self, address: Address, keys: Collection[str]) -> None:
        self._address = address
        self._keys = frozenset(key.encode() for key in keys)
        self._heard: deque[tuple[bytes, bytes]] = deque()
        self._bytes = 0
        self._lock = Lock()
        self._told = Condition(self._lock)
        #: The last words of ECHO, by which this process sees how far it has heard.
        self._marks: deque[str] = deque(maxlen=_MOST_MARKS)
        self._failure: StorageError | None = None
        #: How many values came too fast to be kept.
        self.dropped = 0
        self._connection = address.connect()
        self._line = Line(self._connection)
        try:
            [answer] = self._line.ask([("MONITOR",)])
        except (LibraryError, OSError) as error:
            self._line.close()
            raise translate(error, address.shown) from error
        if isinstance(answer, LibraryError):
            self._line.close()
            raise StorageError(
                f"{address.shown} refuses MONITOR, by which messages are watched ({answer}); "
                "name a user whose ACL has +monitor"
            )
        self._wakeup = Wakeup()
        self._closed = False
        self._thread = Thread(target=self._run, name="redis-monitor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for line in self._line.told():
                if isinstance(line, bytes):
                    self._take(line)
                    self._look_for_mark(line)
        except (LibraryError, OSError) as error:
            if not self._closed:
                with self._told:
                    self._failure = translate(error, self._address.shown)
                    self._told.notify_all()
                self._wakeup.set()

    def _look_for_mark(self, line: bytes) -> None:
        found = _MARK.search(line) if len(line) < _LONGEST_MARK else None
        if found is not None:
            with self._told:
                self._marks.append(found[1].decode("ascii", "replace"))
                self._told.notify_all()

    def _take(self, line: bytes) -> None:
        found = pushed(line, self._address.database, self._keys)
        if found is None:
            return
        key, values = found
        with self._lock:
            for value in values:
                if self._bytes + len(value) > _MOST_BYTES:
                    self.dropped += 1
                else:
                    self._heard.append((key, value))
                    self._bytes += len(value)
        self._wakeup.set()

    def fileno(self) -> int:
        """Return a descriptor that is readable when something came."""
        return self._wakeup.fileno()

    def receive(self) -> Sequence[tuple[bytes, bytes]]:
        """Return each key and value since the last call.  Never waits.

        Raises: ``StorageError`` when the connection is lost and all that came by it was returned.
        """
        self._wakeup.clear()
        with self._lock:
            found = list(self._heard)
            self._heard.clear()
            self._bytes = 0
        if self._failure is not None:
            self._wakeup.set()
            if not found:
                raise self._failure
        return found

    def wait_for(self, mark: str) -> None:
        """Wait until the server has told of a command with this word.  Raises: ``StorageError``."""
        with self._told:
            if not self._told.wait_for(
                lambda: self._failure is not None or mark in self._marks, self._address.timeout_s
            ):
                raise StorageError(f"{self._address.shown} is behind with telling what it is sent")

    def close(self) -> None:
        """Hear no more.  May be called twice."""
        if self._closed:
            return
        self._closed = True
        with suppress(OSError):
            self._line.end()
        self._thread.join()
        self._line.close()
        self._wakeup.close()
