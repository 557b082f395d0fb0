"""Celery's task protocol 2: the headers and the body of a task message.

``OutgoingHeaders`` is what a sender writes: every header that Celery's workers look for, null when
unset, with the user's own headers flat beside them.  ``TaskHeaders`` is what a worker reads to
decide about a message without touching its body.  The body is ``[args, kwargs, embed]``.

A message of protocol 1 (everything in the body) gets headers of this protocol first (``protocol_1``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Annotated, cast

import msgspec

from taskd.base.errors import ProtocolError, SerializationError
from taskd.protocol import budget, content, serializers
from taskd.protocol.lenient import LONGEST_S, MOST_RETRIES, understood

#: Nobody may send for a time from this year on.  Such a time in others' messages is read as this year's
#: first instant: far away is far away, and every broker and every list of dates can hold it.
FAR_FUTURE_YEAR = 2200
FAR_FUTURE_AT = datetime(FAR_FUTURE_YEAR, 1, 1, tzinfo=timezone.utc).timestamp()

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_RETRIES)]
_Span = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_S)]


class UnclearTask(ProtocolError):
    """The headers of a message do not say what to run, or how.

    ``known``: as much as they say, when they say the task's id, so that whoever waits for it can be answered.
    """

    def __init__(self, reason: str, known: TaskHeaders | None = None) -> None:
        super().__init__(reason)
        self.known = known


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
    #: Ours: it is an errback, whose first argument is the id of what failed.
    taskd_errback: bool = False

    @property
    def eta_at(self) -> float | None:
        """When to run it, in wall-clock seconds; None for at once."""
        return None if self.eta is None else _epoch(self.eta)

    @property
    def expires_at(self) -> float | None:
        """After which wall-clock second not to run it; None for never."""
        return None if self.expires is None else _epoch(self.expires)

    def expired(self, now: float) -> bool:
        """Whether it must not begin any more; ``now`` is wall-clock time."""
        return self.expires is not None and _epoch(self.expires) <= now

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
RESERVED_HEADERS = frozenset({*OutgoingHeaders.__struct_fields__, *TaskHeaders.__struct_fields__})

_header_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(TaskHeaders)
_NO_EMBED = b',{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'


def encode_headers(headers: OutgoingHeaders, extra: Mapping[str, object] | None = None) -> bytes:
    """Return the headers as JSON, ``extra`` flat beside them.

    Raises: ``SerializationError`` for what JSON cannot represent, or no worker would read.
    """
    data = _header_encoder.encode(headers)
    if extra:
        data = data[:-1] + b"," + serializers.dumps(dict(extra))[1:]
    if len(data) > budget.MOST_HEADER_BYTES:
        raise SerializationError(_too_long(data))
    return data


def decode_headers(data: bytes) -> TaskHeaders:
    """Return the headers of a task message.

    Raises: ``ProtocolError`` when it is not a table of headers; ``UnclearTask``, which is one too, naming the
    header that is missing or has a value without a clear meaning.
    """
    if len(data) > budget.MOST_HEADER_BYTES:
        raise ProtocolError(_too_long(data))
    try:
        return _header_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # NaN or a lone surrogate in a user's header, or a producer that writes another way
    fields = raw_headers(data)
    meant, unclear = understood(fields)
    missing = [name for name in ("task", "id") if name not in fields]
    if not (missing or unclear):
        return TaskHeaders(**meant)  # type: ignore[arg-type]  # checked just now
    known = TaskHeaders(**{"task": "", **meant}) if "id" in meant else None  # type: ignore[arg-type]
    reason = "; ".join([*(f"no header `{name}`" for name in missing), *unclear])
    raise UnclearTask(f"task headers are not those of task protocol 2: {reason}", known)


def _too_long(data: bytes) -> str:
    most = budget.MOST_HEADER_BYTES
    return f"task headers take {len(data)} bytes; expected {most} at most: data belongs into the arguments"


def raw_headers(data: bytes) -> dict[str, object]:
    """Return all headers as they stand, for a message that is sent again.

    Raises: ``ProtocolError`` when the bytes are not a JSON object.
    """
    try:
        headers = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"task headers are not JSON: {error}") from error
    if type(headers) is not dict:
        raise ProtocolError(f"task headers are {_shape(headers)}; expected a JSON object")
    return headers


def headers_as_mapping(data: bytes) -> dict[str, object]:
    """Return all headers, the user's among them, with kombu's typed values as what they are.

    Raises: ``ProtocolError`` when the bytes are not a JSON object.
    """
    try:
        headers = serializers.loads(data)
    except SerializationError:
        return raw_headers(data)  # perhaps something that only looks like a typed value
    if type(headers) is not dict:
        raise ProtocolError(f"task headers are {_shape(headers)}; expected a JSON object")
    return headers


def encode_body(
    args: Sequence[object], kwargs: Mapping[str, object], embed: Mapping[str, object] | None = None
) -> bytes:
    """Return the body of a task; ``embed`` has its callbacks and errbacks as signatures.

    Raises: ``SerializationError`` naming the type that JSON cannot represent, or the limit that is passed.
    """
    if embed:
        whole = {"callbacks": None, "errbacks": None, "chain": None, "chord": None, **embed}
        data = serializers.dumps((args, kwargs, whole))
    else:
        data = serializers.dumps((args, kwargs))[:-1] + _NO_EMBED
    budget.check_json(data, "the message with its arguments")
    return data


def carries_nothing(body: bytes) -> bool:
    """Return whether a body certainly has no signatures, without decoding it."""
    return body.endswith(_NO_EMBED)


def decode_body(
    body: bytes,
    content_type: str,
    compression: str | None = None,
    accepted: content.Accepted | None = None,
) -> tuple[list[object], dict[str, object], dict[str, object]]:
    """Return the positional arguments, keyword arguments and embedded signatures.

    ``accepted``: None for what this process reads safely, which is never pickle.
    Raises: ``SerializationError`` for a content type that is not in ``accepted``, bytes that are not of it,
    or a value that is not ``[args, kwargs, embed]``.
    """
    value = content.read(body, content_type, compression, accepted)
    if isinstance(value, dict) and not value.keys().isdisjoint(("task", "args", "kwargs")):
        embed = {name: value.get(name) for name in ("callbacks", "errbacks", "chord")}
        value = [value.get("args"), value.get("kwargs"), embed]  # protocol 1
    if not isinstance(value, (list, tuple)) or len(value) not in (2, 3):
        raise SerializationError(f"task body is {_shape(value)}; expected a list [args, kwargs, embed]")
    args, kwargs, linked = value if len(value) == 3 else (*value, None)
    # Any empty value counts as an empty table: PHP writes one as [], and YAML and pickle know tuples.
    args = list(args) if isinstance(args, tuple) else args or []
    kwargs, linked = kwargs or {}, linked or {}
    if type(args) is not list:
        raise SerializationError(f"task body: args is {_shape(args)}; expected a list")
    if type(kwargs) is not dict:
        raise SerializationError(f"task body: kwargs is {_shape(kwargs)}; expected an object")
    if type(linked) is not dict:
        raise SerializationError(f"task body: embed is {_shape(linked)}; expected an object")
    return args, cast("dict[str, object]", kwargs), cast("dict[str, object]", linked)


def _shape(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else f"of type {type(value).__name__}"


def _epoch(moment: datetime) -> float:
    # Without an offset it is UTC, as in Celery with enable_utc.
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return min(aware.timestamp(), FAR_FUTURE_AT)
