"""Remote control on the wire: the requests and replies of kombu's ``pidbox``.  Pure.

A request is broadcast to the fanout exchange ``celery.pidbox``, from which each node's queue
``<node>.celery.pidbox`` gets a copy; each node decides by ``ControlRequest.concerns`` whether it is meant.
A sender that wants an answer names an exchange and a routing key in ``reply_to``.  A ticket tells this answer
from a late one to an earlier question.  A reply is ``{"<node>": answer}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Annotated

import msgspec

from taskd.base.errors import ProtocolError
from taskd.protocol import budget, content

#: The exchange of requests, and the end of the name of each node's queue.
EXCHANGE = "celery.pidbox"
#: Matching takes time by the length of the pattern.
_LONGEST_PATTERN = 256
REPLY_EXCHANGE = "reply.celery.pidbox"
CONTENT_TYPE = "application/json"


class ReplyTo(msgspec.Struct, frozen=True):
    """Where an answer is published."""

    exchange: str
    routing_key: str


class ControlRequest(msgspec.Struct, frozen=True):
    """One request; ``clock`` is the sender's logical clock, from the message's headers."""

    method: str
    arguments: dict[str, object] | None = None
    destination: list[str] | None = None
    pattern: str | None = None
    matcher: str | None = None
    ticket: str | None = None
    reply_to: ReplyTo | None = None
    clock: int = 0

    def concerns(self, node: str) -> bool:
        """Return whether this node is meant: named, matched by the pattern, or everyone is.

        Regular expressions are refused: matching one can take for ever, and every worker hears it.
        Raises: ``ProtocolError`` when the pattern is too long, or its matcher is not accepted.
        """
        if self.destination:
            return node in self.destination
        if not (self.pattern and self.matcher):
            return True
        if self.matcher != "glob":
            raise ProtocolError(
                f"matcher: {self.matcher[:40]!r} is not accepted; use glob, or destination with whole names"
            )
        if len(self.pattern) > _LONGEST_PATTERN:
            raise ProtocolError(
                f"pattern: {len(self.pattern)} characters are not accepted; use at most {_LONGEST_PATTERN}"
            )
        return fnmatch(node, self.pattern)


class _RequestBody(msgspec.Struct, frozen=True):
    """All that kombu writes into a request."""

    method: str
    arguments: Mapping[str, object]
    ticket: str | None
    reply_to: ReplyTo | None
    destination: Sequence[str] | None = None
    pattern: str | None = None
    matcher: str | None = None


class _RequestHeaders(msgspec.Struct, frozen=True):
    clock: int
    expires: float


class _Headers(msgspec.Struct, frozen=True):
    # Bounded, so that no sender can make our own clock too large for JSON.
    clock: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None


class _ReplyHeaders(msgspec.Struct, frozen=True):
    ticket: str | None = None
    clock: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


_request_decoder = msgspec.json.Decoder(ControlRequest)
_headers_decoder = msgspec.json.Decoder(_Headers)
_reply_decoder = msgspec.json.Decoder(dict[str, object])
_reply_headers_decoder = msgspec.json.Decoder(_ReplyHeaders)
_encoder = msgspec.json.Encoder()


def decode_request(body: bytes, headers: bytes, content_type: str) -> ControlRequest:
    """Read a request from the parts of its message.

    Celery writes it by the serializer of its tasks, so this process reads what it reads of those, but never
    pickle.  Raises: ``ProtocolError`` when it is not a request.
    """
    budget.check_json(headers, "the request's headers")
    try:
        if content_type == CONTENT_TYPE:
            budget.check_json(body, "the remote-control request")
            request = _request_decoder.decode(body)
        else:
            request = msgspec.convert(content.read(body, content_type), ControlRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"{body[:200]!r} is not a remote-control request: {error}") from error
    try:
        clock = _headers_decoder.decode(headers or b"{}").clock
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"{headers[:200]!r} are not the headers of a request: {error}") from error
    return msgspec.structs.replace(request, clock=clock or 0)


def encode_reply(node: str, answer: object) -> bytes:
    """Return the body of a node's reply.

    Raises: ``TypeError``, ``ValueError``, ``OverflowError`` or ``RecursionError`` when the answer is not
    made of JSON values.
    """
    return _encoder.encode({node: answer})


def encode_reply_headers(ticket: str | None, clock: int) -> bytes:
    """Return the headers of a reply; ``clock`` is the node's logical clock."""
    return _encoder.encode(_ReplyHeaders(ticket, clock))


def encode_request(
    method: str,
    arguments: Mapping[str, object],
    *,
    clock: int,
    ticket: str | None = None,
    reply_to: str = "",
    expires_at: float = 0.0,
) -> tuple[bytes, bytes]:
    """Return headers and body of a request to every node.

    ``reply_to``: the key of the asker's queue; empty when no answer is wanted.
    """
    address = ReplyTo(REPLY_EXCHANGE, reply_to) if reply_to else None
    return (
        _encoder.encode(_RequestHeaders(clock, expires_at)),
        _encoder.encode(_RequestBody(method, arguments, ticket, address)),
    )


def decode_reply(
    body: bytes, headers: bytes, content_type: str
) -> tuple[Mapping[str, object], str | None, int]:
    """Read a reply: the answers by node, the ticket, and the sender's logical clock.

    Raises: ``ProtocolError`` when it is not a reply.
    """
    if content_type != CONTENT_TYPE:
        raise ProtocolError(f"content type {content_type!r} is not accepted; expected {CONTENT_TYPE}")
    budget.check_json(body, "the remote-control reply")
    budget.check_json(headers, "the reply's headers")
    try:
        said = _reply_headers_decoder.decode(headers or b"{}")
        return _reply_decoder.decode(body), said.ticket, said.clock
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"{body[:200]!r} is not a remote-control reply: {error}") from error
