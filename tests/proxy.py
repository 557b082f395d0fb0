"""A TCP proxy that makes a server slow, loses answers and goes silent, for tests of what is on the wire."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Collection

#: How much of the server's answers is remembered.
_REMEMBERED_BYTES = 4096


class Proxy:
    """Passes bytes between clients and one port of this host.  ``close`` ends it.

    ``delay_s`` is added to each round trip.  A *chunk* is what one read brings, which for small requests one
    at a time is one request or one answer.
    """

    def __init__(self, port: int, *, delay_s: float = 0.0) -> None:
        self._target = port
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._chunks = 0
        self._losses: Collection[int] = ()
        self._sockets: list[socket.socket] = []
        #: Those of the clients among them.
        self._clients: list[socket.socket] = []
        self._is_silent = False
        self._passed = bytearray()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def lose(self, chunks: Collection[int]) -> None:
        """Drop the chunks of these numbers, counted from 1 from now on, each with its connection."""
        with self._lock:
            self._chunks, self._losses = 0, chunks

    def inject(self, data: bytes) -> None:
        """Send bytes of our own to all present clients, between two chunks of the server's."""
        with self._lock:
            for each in self._clients:
                each.sendall(data)

    def silence(self) -> None:
        """Pass nothing more on the present connections, and leave them open: as if a cable were cut."""
        with self._lock:
            self._is_silent = True
            self._forget()

    def has_passed(self, data: bytes) -> bool:
        """Whether the server's answers had these bytes in them of late, and a client has them."""
        with self._lock:
            return data in self._passed

    def speak(self) -> None:
        """Pass what comes on new connections."""
        self._is_silent = False

    def cut(self) -> None:
        """Close all present connections."""
        with self._lock:
            for each in self._sockets:
                _close(each)
            self._forget()

    def _forget(self) -> None:
        self._sockets.clear()
        self._clients.clear()

    def close(self) -> None:
        """Close everything."""
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # away for now: this client sees it, and the next one may find it back
                _close(client)
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets += [client, server]
                self._clients.append(client)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                if self._delay_s:
                    time.sleep(self._delay_s / 2)
                with self._lock:
                    self._chunks += 1
                    lost = self._chunks in self._losses
                    silent = self._is_silent or source not in self._sockets
                if silent:
                    continue
                if lost:
                    break
                sink.sendall(data)
                if source not in self._clients:
                    with self._lock:
                        self._passed += data
                        del self._passed[:-_REMEMBERED_BYTES]
        for each in (source, sink):
            _close(each)


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
