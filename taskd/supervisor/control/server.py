"""The control socket's server: JSON-RPC 2.0, one JSON object a line in each direction.

The socket's mode says who may connect, ``access`` what each may call, and ``audit`` notes it.  A client that
may connect may still be broken, so everything is limited.  That is the size of a request, the number of
clients, the time without a request, and the answers kept for a client that does not read.  It knows no method
itself: the supervisor gives them.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping

import msgspec

from taskd.base import clock
from taskd.base.errors import ControlError
from taskd.base.lifecycle import Deadline, OneLife
from taskd.base.loop import Loop, LoopTimer, Owner
from taskd.supervisor.control import peers
from taskd.supervisor.control.access import Access, Peer
from taskd.supervisor.control.audit import Audit

_log = logging.getLogger(__name__)

MAX_FRAME_BYTES = 64 * 1024
MAX_CLIENTS = 32
#: Of these, places that only root gets, and how many another user may hold: the daemon's own too, because
#: its tasks are that user.
KEPT_FOR_ROOT = 8
MAX_CLIENTS_OF_A_USER = 12
IDLE_S = 60.0
# Answers that wait for a client that does not read them.
_MAX_UNSENT_BYTES = 4 * 1024 * 1024
_ACCEPT_AGAIN_S = 1.0
_REQUESTS_A_TURN = 8

# The error codes of JSON-RPC 2.0.
_PARSE_ERROR = -32700
_INVALID_REQUEST = -32600
_METHOD_NOT_FOUND = -32601
_REFUSED = -32000
_FORBIDDEN = -32001

Params = Mapping[str, object]
#: Answers a method's parameters with its result.  Raises: ``ControlError`` to refuse.
Method = Callable[[Params], object]


# An error of our own costs the client that comes just then, which the loop's pause lets wait a little.
_LISTENING = Owner("the control socket", lambda _why: None)


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    jsonrpc: str
    method: str
    params: dict[str, object] = {}
    id: int | str | float | msgspec.UnsetType | None = msgspec.UNSET


class ControlServer:
    """Answers clients on a listening socket.  For the loop's thread; never blocks.

    Without ``access`` only root and this process's own user may call anything.  ``max_clients`` and
    ``idle_s`` have tests of their own; nobody else needs to set them.
    """

    def __init__(
        self,
        loop: Loop,
        listening: socket.socket,
        methods: Mapping[str, Method],
        *,
        access: Access | None = None,
        max_clients: int = MAX_CLIENTS,
        idle_s: float = IDLE_S,
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._methods = methods
        self._access = access or Access(os.geteuid())
        self._audit = Audit(peers.user_names())
        self._max_clients = max_clients
        self._idle_s = idle_s
        self._clients: set[_Client] = set()
        self._accept_timer: LoopTimer | None = None
        self._life = OneLife()

    def give(self, access: Access) -> None:
        """Let these roles decide from now on, for clients that are connected already too."""
        self._access = access
        for client in [each for each in self._clients if access.turning_away(each.peer)]:
            client.close()

    def start(self) -> None:
        """Accept clients from now on; the listening socket belongs to the caller."""
        if self._life.begin():
            self._listen()

    def quiet(self) -> None:
        """Accept no further client, and answer the connected ones."""
        self._life.calm()
        self._do_not_listen()

    def stop(self, deadline: Deadline) -> None:
        """Drop every client, and accept no other."""
        self.kill()

    def kill(self) -> None:
        """Drop every client, and accept no other."""
        self._life.end()
        self._do_not_listen()
        for client in list(self._clients):
            client.close()

    def _listen(self) -> None:
        self._accept_timer = None
        if self._life.takes and self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening.fileno(), self._accept, _LISTENING)

    def _do_not_listen(self) -> None:
        self._loop.remove_reader(self._listening.fileno())
        if self._accept_timer is not None:
            self._accept_timer.cancel()

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return  # the client has gone again
        except OSError as error:
            # Out of descriptors: the client stays in the queue and would wake the loop without end.
            _log.error("control: cannot accept a client: %s", error)
            self._loop.remove_reader(self._listening.fileno())
            self._accept_timer = self._loop.call_later(_ACCEPT_AGAIN_S, self._listen, _LISTENING)
            return
        connection.setblocking(False)
        try:
            peer = peers.peer_of(connection)
        except OSError as error:
            _log.warning("control: refused a client whose user is unknown: %s", error)
            connection.close()
            return
        if refusal := self._access.turning_away(peer):
            self._audit.turned_away(peer)
            _turn_away(connection, refusal)
            return
        if crowd := self._crowd(peer.uid):
            _log.warning("control: refused a client of uid %s: %s", peer.uid, crowd)
            _turn_away(connection, f"{crowd}; try again later")
            return

        def answer(frame: bytes) -> bytes | None:
            try:
                return self._answer(frame, peer)
            except Exception:  # noqa: BLE001 - a barrier: no client may end the daemon
                _log.exception("control: a request could not be answered request=%r", frame[:200])
                return _INTERNAL

        gone = self._clients.discard
        idle_s = self._idle_s
        self._clients.add(_Client(self._loop, connection, answer, gone, peer=peer, idle_s=idle_s))

    def _crowd(self, uid: int) -> str:
        """Return in words why there is no place for one more client of this user; empty when there is."""
        total = len(self._clients)
        if total >= self._max_clients:
            return f"{total} clients are connected already"
        if uid == 0:
            return ""
        own = sum(client.peer.uid == uid for client in self._clients)
        if own >= MAX_CLIENTS_OF_A_USER:
            return f"{own} clients of this user are connected already"
        if total >= self._max_clients - KEPT_FOR_ROOT:
            return f"{total} clients are connected already, and the other places are kept for root"
        return ""

    def _answer(self, frame: bytes, peer: Peer) -> bytes | None:
        """Return the answer to one request as a line; None for a notification."""
        identifier: object = None
        wants_answer = True
        try:
            request = msgspec.json.decode(frame, type=_Request)
            wants_answer = request.id is not msgspec.UNSET
            identifier = request.id if wants_answer else None
            if request.jsonrpc != "2.0":
                answer = _error(_INVALID_REQUEST, 'jsonrpc must be "2.0"')
            else:
                answer = self._call(request.method, request.params, peer)
        except msgspec.ValidationError as error:
            answer = _error(_INVALID_REQUEST, f"not a JSON-RPC 2.0 request: {error}")
        except msgspec.DecodeError as error:
            answer = _error(_PARSE_ERROR, f"not JSON: {error}")
        except UnicodeDecodeError as error:
            answer = _error(_PARSE_ERROR, f"not UTF-8: {error.reason}")
        except RecursionError:
            answer = _error(_PARSE_ERROR, "not JSON that is meant for anybody: nested too deeply")
        if not wants_answer:
            return None
        return msgspec.json.encode({"jsonrpc": "2.0", "id": identifier, **answer}) + b"\n"

    def _call(self, name: str, params: Params, peer: Peer) -> dict[str, object]:
        """Carry out a method for a peer that may call it, and note who asked."""
        method = self._methods.get(name)
        if method is None:
            known = ", ".join(sorted(self._methods))
            return _error(_METHOD_NOT_FOUND, f"no method {name!r}; there are: {known}")
        if refusal := self._access.refusal(name, peer):
            self._audit.refused(peer, name, params)
            return _error(_FORBIDDEN, refusal)
        try:
            result = method(params)
        except ControlError as error:
            self._audit.failed(peer, name, params, str(error))
            return _error(_REFUSED, str(error))
        except Exception:  # noqa: BLE001 - a barrier: the caller gets an answer with its id
            _log.exception("control: a command failed method=%s params=%r", name, params)
            self._audit.failed(peer, name, params, "internal error")
            return _error(_REFUSED, "internal error; the log of taskd has the traceback")
        if isinstance(result, Mapping) and result.get("ok") is False:
            self._audit.failed(peer, name, params, _first_problem(result))
        else:
            self._audit.done(peer, name, params)
        return {"result": result}


def _first_problem(result: Mapping[str, object]) -> str:
    problems = result.get("problems")
    return f"refused: {problems[0]}" if isinstance(problems, (list, tuple)) and problems else "refused"


def _error(code: int, message: str) -> dict[str, object]:
    return {"error": {"code": code, "message": message}}


_INTERNAL = msgspec.json.encode({"jsonrpc": "2.0", "id": None, **_error(_REFUSED, "internal error")}) + b"\n"


def _turn_away(connection: socket.socket, why: str) -> None:
    """Close a connection that was just made, with an answer to whatever it is going to ask."""
    answer = msgspec.json.encode({"jsonrpc": "2.0", "id": None, **_error(_REFUSED, why)}) + b"\n"
    connection.setblocking(False)
    try:
        connection.send(answer)  # fits into the empty buffer of a new connection
    except OSError:
        pass
    connection.close()


class _Client:
    """One connection.  Closes itself when the peer goes, idles, or sends or leaves too much."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        answer: Callable[[bytes], bytes | None],
        gone: Callable[[_Client], None],
        *,
        peer: Peer,
        idle_s: float,
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._answer = answer
        self._gone = gone
        self._idle_s = idle_s
        self._received = bytearray()
        self._unsent = bytearray()
        self._last_frame = clock.monotonic()
        self._closing = False
        self.peer = peer
        self._owner = Owner(f"control client pid={peer.pid} uid={peer.uid}", lambda _why: self.close())
        self._idle_timer: LoopTimer = loop.call_later(idle_s, self._check_idle, self._owner)
        loop.add_reader(connection.fileno(), self._read, self._owner)

    def close(self) -> None:
        """Drop the connection.  A second call does nothing."""
        if self._connection.fileno() < 0:
            return
        self._idle_timer.cancel()
        self._loop.remove_reader(self._connection.fileno())
        self._loop.remove_writer(self._connection.fileno())
        self._connection.close()
        self._gone(self)

    def _read(self) -> None:
        try:
            data = self._connection.recv(MAX_FRAME_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._received += data
        self._work()

    def _work(self) -> None:
        """Answer a few requests; when more are there, the others' turn comes first."""
        for _ in range(_REQUESTS_A_TURN):
            frame, newline, rest = self._received.partition(b"\n")
            if len(frame) > MAX_FRAME_BYTES:
                self._refuse_size()
                return
            if not newline or self._connection.fileno() < 0:
                break
            self._received = rest
            if frame.strip():
                self._last_frame = clock.monotonic()
                self._write(self._answer(bytes(frame)) or b"")
        if self._connection.fileno() < 0:
            return
        if b"\n" in self._received:
            self._loop.remove_reader(self._connection.fileno())
            self._loop.call_soon(self._work, self._owner)
        else:
            self._loop.add_reader(self._connection.fileno(), self._read, self._owner)

    def _refuse_size(self) -> None:
        error = _error(_INVALID_REQUEST, f"a request may have {MAX_FRAME_BYTES} bytes")
        # Reading on would mean to look for the end of something of unknown length.
        self._closing = True
        if self._connection.fileno() >= 0:
            self._loop.remove_reader(self._connection.fileno())
        self._write(msgspec.json.encode({"jsonrpc": "2.0", "id": None, **error}) + b"\n")

    def _write(self, data: bytes) -> None:
        if self._connection.fileno() < 0:
            return
        self._unsent += data
        if len(self._unsent) > _MAX_UNSENT_BYTES:
            self.close()
        else:
            self._flush()

    def _flush(self) -> None:
        try:
            if self._unsent:
                del self._unsent[: self._connection.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._unsent:
            self._loop.add_writer(self._connection.fileno(), self._flush, self._owner)
        elif self._closing:
            self.close()
        else:
            self._loop.remove_writer(self._connection.fileno())

    def _check_idle(self) -> None:
        left_s = self._last_frame + self._idle_s - clock.monotonic()
        if left_s <= 0:
            self.close()
        else:
            self._idle_timer = self._loop.call_later(left_s, self._check_idle, self._owner)
