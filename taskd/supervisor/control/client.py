"""The other end of the control socket, for taskctl and for tests.  Blocks; never used by the daemon."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Mapping
from types import TracebackType

import msgspec

from taskd.base import clock
from taskd.base.errors import ControlError, DaemonDownError, RefusedError

_RECEIVE_BYTES = 1 << 16
_TIMEVAL = struct.Struct("ll")
#: How long a call waits unless it is told otherwise.
CALL_TIMEOUT_S = 5.0


class _Error(msgspec.Struct):
    code: int
    message: str


class _Response(msgspec.Struct):
    id: int | None = None
    result: object = None
    error: _Error | None = None


class ControlClient:
    """Calls a running taskd.  Not for several threads at once.

    Each call has its own connection; as a context manager, all calls of the block share one.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._calls = 0
        self._keeps_connection = False

    def call(
        self, method: str, params: Mapping[str, object] | None = None, timeout_s: float = CALL_TIMEOUT_S
    ) -> object:
        """Call a method and return its result, plain JSON values.

        Raises: ``DaemonDownError`` when nobody listens, ``RefusedError`` with the daemon's message, other
        ``ControlError`` when the socket cannot be used or no answer comes within ``timeout_s``.
        """
        deadline = clock.monotonic() + timeout_s
        self._calls += 1
        request = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": dict(params or {})}
        try:
            data = msgspec.json.encode(request) + b"\n"
        except UnicodeEncodeError:
            raise RefusedError(f"{method}: a name that is not text in UTF-8 is not one of taskd's") from None
        try:
            connection = self._connected(timeout_s)
            try:
                connection.sendall(data)
            except BrokenPipeError:
                pass  # turned away: the reason is there to be read
            response = self._receive(connection, deadline)
        except TimeoutError:
            self._close()
            raise ControlError(f"taskd did not answer on {self._path} within {timeout_s:g} s") from None
        except OSError as error:
            self._close()
            raise ControlError(f"taskd closed the connection on {self._path}: {error}") from error
        if not self._keeps_connection:
            self._close()
        if response.error is not None:
            raise RefusedError(response.error.message)
        return response.result

    def __enter__(self) -> ControlClient:
        self._keeps_connection = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._keeps_connection = False
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._received.clear()

    def _connected(self, timeout_s: float) -> socket.socket:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            # Not settimeout: connect would then not wait for its turn when many come at once.
            whole, part = divmod(max(timeout_s, 0.001), 1.0)
            limit = _TIMEVAL.pack(int(whole), int(part * 1e6))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            try:
                connection.connect(self._path)
            except BlockingIOError:
                connection.close()
                raise TimeoutError from None
            except OSError as error:
                connection.close()
                raise _explain(self._path, error) from error
            connection.settimeout(timeout_s)
            self._socket = connection
        return self._socket

    def _receive(self, connection: socket.socket, deadline: float) -> _Response:
        while b"\n" not in self._received:
            connection.settimeout(max(0.001, deadline - clock.monotonic()))
            data = connection.recv(_RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError("no answer came; it has ended, most likely")
            self._received += data
        line, _, rest = self._received.partition(b"\n")
        self._received = rest
        try:
            return msgspec.json.decode(line, type=_Response)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._close()
            raise ControlError(f"the answer on {self._path} is not JSON-RPC: {error}") from error


# systemd refuses to start what failed too often, until it is told to forget that.
_START = "taskd in a terminal, or systemctl reset-failed taskd; systemctl start taskd"


def _explain(path: str, error: OSError) -> ControlError:
    match error:
        case FileNotFoundError():
            return DaemonDownError(
                f"taskd is not running: nobody listens on {path}; start it ({_START}), or name its "
                "configuration by --config or its socket by --socket"
            )
        case ConnectionRefusedError():
            if not stat.S_ISSOCK(os.stat(path).st_mode):
                return ControlError(f"{path} is not a socket; name taskd's control socket by --socket")
            return DaemonDownError(
                f"taskd is not running: nobody listens on {path}, which a killed daemon left behind; "
                f"start it again ({_START})"
            )
        case PermissionError():
            return ControlError(
                f"no permission for the control socket {path}: run taskctl as root or as the user of taskd, "
                "or let others in by [control] socket_mode and its lists"
            )
        case _:
            return ControlError(f"the control socket {path} cannot be used: {error}")
