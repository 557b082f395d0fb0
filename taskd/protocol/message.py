"""Celery's task protocol 2: the headers and the body of a task message.

``OutgoingHeaders`` is what a sender writes: every header that Celery's workers look for, null when
unset, with the user's own headers flat beside them.  ``TaskHeaders`` is what a worker reads to
decide about a message without touching its body.  The body is ``[args, kwargs, embed]``.

Protocol 1 (everything in the body) is refused: no client has sent it by default since Celery 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Annotated, cast

import msgspec

from taskd.errors import ProtocolError, SerializationError
from taskd.protocol import content, serializers

#: An eta from this year on is a lie or a mistake: the message would wait for ever, unseen.
FAR_FUTURE_YEAR = 2200

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
# Up to 126 years: more is a lie, and 1e308 overflows alarms, dates and sums.
_Span = Annotated[float, msgspec.Meta(ge=0, le=4e9)]


class TaskHeaders(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The headers by which a worker decides.  Headers it does not know are left alone."""

    task: _Text
    id: _Text
    shadow: str | None = None
    eta: datetime | None = None
    expires: datetime | None = None
    group: str | None = None
    group_index: int | None = None
    retries: _Count = 0
    #: Hard limit first, then soft, in seconds.
    timelimit: tuple[_Span | None, _Span | None] | None = None
    root_id: str | None = None
    parent_id: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    ignore_result: bool | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, object] | None = None
    #: How the body is compressed, by kombu's name; None when it is not.
    compression: str | None = None
    replaced_task_nesting: int = 0
    #: Ours: retry options of this one message, set by ``apply_async``.
    taskd_max_retries: _Count | None = None
    taskd_retry_delay: _Span | None = None

    @property
    def eta_at(self) -> float | None:
        """When to run it, in wall-clock seconds; None for at once."""
        return None if self.eta is None else _epoch(self.eta)

    @property
    def expires_at(self) -> float | None:
        """After which wall-clock second not to run it; None for never."""
        return None if self.expires is None else _epoch(self.expires)

    @property
    def hard_limit_s(self) -> float:
        """The hard time limit of this message; 0 when the task's own counts."""
        return (self.timelimit[0] or 0.0) if self.timelimit else 0.0

    @property
    def soft_limit_s(self) -> float:
        """The soft time limit of this message; 0 when the task's own counts."""
        return (self.timelimit[1] or 0.0) if self.timelimit else 0.0


class OutgoingHeaders(msgspec.Struct, kw_only=True, gc=False):
    """All headers that Celery writes.  ``eta`` and ``expires`` are ISO 8601 with an offset."""

    lang: str = "py"
    task: str
    id: str
    shadow: str | None = None
    eta: str | None = None
    expires: str | None = None
    group: str | None = None
    group_index: int | None = None
    retries: int = 0
    timelimit: tuple[float | None, float | None] = (None, None)
    root_id: str
    parent_id: str | None = None
    argsrepr: str
    kwargsrepr: str
    origin: str
    #: None leaves it to the task's own option, which a sender by name does not know.
    ignore_result: bool | None = None
    replaced_task_nesting: int = 0
    stamped_headers: list[str] | None = None
    stamps: Mapping[str, object] = {}


#: Names that a user's header cannot have.
RESERVED_HEADERS = frozenset(
    {*OutgoingHeaders.__struct_fields__, "compression", "taskd_max_retries", "taskd_retry_delay"}
)

_header_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(TaskHeaders)
_NO_EMBED = b',{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'


def encode_headers(headers: OutgoingHeaders, extra: Mapping[str, object] | None = None) -> bytes:
    """Return the headers as JSON, ``extra`` flat beside them."""
    data = _header_encoder.encode(headers)
    if not extra:
        return data
    return data[:-1] + b"," + serializers.dumps(dict(extra))[1:]


def decode_headers(data: bytes) -> TaskHeaders:
    """Return the headers of a task message.

    Raises: ``ProtocolError`` naming the header that is missing or has a value that cannot be.
    """
    try:
        try:
            headers = _header_decoder.decode(data)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # NaN or a lone surrogate in a user's header, which msgspec does not read.
            headers = msgspec.convert(serializers.loads(data), TaskHeaders)
            _refuse_surrogates(headers)
    except (SerializationError, msgspec.ValidationError, UnicodeEncodeError) as error:
        raise ProtocolError(_why_not_headers(data, error)) from error
    if headers.eta is not None and headers.eta.year >= FAR_FUTURE_YEAR:
        raise ProtocolError(
            f"task headers: eta {headers.eta.isoformat()} of task {headers.id} lies beyond the year "
            f"{FAR_FUTURE_YEAR}; expected a time at which the task is to run"
        )
    return headers


def _refuse_surrogates(headers: TaskHeaders) -> None:
    """Raise ``ProtocolError`` for a name that no database, log or reply could be given."""
    for name in ("task", "id", "group", "root_id", "parent_id"):
        value = getattr(headers, name) or ""
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ProtocolError(
                f"task headers: {name} {value!a} holds a lone surrogate; expected text that UTF-8 can hold"
            ) from error


def _why_not_headers(data: bytes, error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError) and b'"task"' not in data:
        return (
            "task headers: no header `task`; the message is not a task, or has Celery's task protocol 1 "
            "(expected protocol 2: set task_protocol = 2 in the producer)"
        )
    return f"task headers are not those of task protocol 2: {error}"


def headers_as_mapping(data: bytes) -> dict[str, object]:
    """Return all headers, the user's among them, for a message that is sent again.

    Raises: ``ProtocolError`` when the bytes are not a JSON object.
    """
    headers = serializers.loads(data)
    if type(headers) is not dict:
        raise ProtocolError(f"task headers are {_shape(headers)}; expected a JSON object")
    return headers


def encode_body(
    args: Sequence[object], kwargs: Mapping[str, object], embed: Mapping[str, object] | None = None
) -> bytes:
    """Return the body of a task; ``embed`` has its callbacks and errbacks as signatures.

    Raises: ``SerializationError`` naming the type that JSON cannot represent.
    """
    if not embed:
        return serializers.dumps((args, kwargs))[:-1] + _NO_EMBED
    whole = {"callbacks": None, "errbacks": None, "chain": None, "chord": None, **embed}
    return serializers.dumps((args, kwargs, whole))


def carries_nothing(body: bytes) -> bool:
    """Return whether a body certainly has no signatures, without decoding it."""
    return body.endswith(_NO_EMBED)


def decode_body(
    body: bytes,
    content_type: str,
    content_encoding: str,
    compression: str | None = None,
    accepted: content.Accepted = content.SAFE,
) -> tuple[list[object], dict[str, object], dict[str, object]]:
    """Return the positional arguments, keyword arguments and embedded signatures.

    Raises: ``SerializationError`` for a content type that is not in ``accepted``, bytes that are not of it,
    or a value that is not ``[args, kwargs, embed]``.
    """
    value = content.read(body, content_type, content_encoding, compression, accepted)
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise SerializationError(f"task body is {_shape(value)}; expected a list [args, kwargs, embed]")
    args, kwargs, embed = value
    if type(args) is tuple:
        args = list(args)  # YAML and pickle know tuples
    if type(args) is not list:
        raise SerializationError(f"task body: args is {_shape(args)}; expected a list")
    if type(kwargs) is not dict:
        raise SerializationError(f"task body: kwargs is {_shape(kwargs)}; expected an object")
    if embed is None:
        embed = {}
    elif type(embed) is not dict:
        raise SerializationError(f"task body: embed is {_shape(embed)}; expected an object")
    return args, cast("dict[str, object]", kwargs), cast("dict[str, object]", embed)


def _shape(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else f"of type {type(value).__name__}"


def _epoch(moment: datetime) -> float:
    # Without an offset it is UTC, as in Celery with enable_utc.
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return aware.timestamp()
