"""Between a worker and the executor in its pool: payloads in, replies out, and the task table.

The parent reads only headers; the body travels undecoded to whoever runs the task.  The format is
msgpack arrays, private to one worker generation: both ends are always the same version.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

from taskd.protocol.chord import Begun, ChordPart


class Acks(str, Enum):
    """When a task's message is acknowledged."""

    LATE = "late"
    EARLY = "early"


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the parent must know of a task; the template sends one for each registered task."""

    name: str
    acks: Acks = Acks.LATE
    ignore_result: bool = False
    soft_time_limit: float = 0.0
    time_limit: float = 0.0
    #: Tasks a second that one worker may begin; 0 for no limit.
    rate_limit: float = 0.0
    #: Where it goes when the worker itself sends it: the body of a chord.
    queue: str = ""
    #: Whether its events are told at all.
    send_events: bool = True
    #: Whether the app has hooks that are to hear of an end that the worker decides.
    hears_ends: bool = False


class Payload(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Everything that running one delivery needs."""

    headers: bytes
    body: bytes
    content_type: str
    content_encoding: str
    queue: str
    priority: int
    deliveries: int
    reply_to: str
    correlation_id: str
    exchange: str
    routing_key: str
    #: The result record of a run that the worker has ended: hooks are to hear of it, nothing runs.
    ended: bytes = b""
    #: JSON of the properties that have no field here.
    properties: bytes | None = None


class End(int, Enum):
    """How an execution ended."""

    SUCCEEDED = 0
    FAILED = 1
    RETRIED = 2
    IGNORED = 3
    #: Put it back in the queue, on the task's request.
    REQUEUED = 4
    #: To the dead-letter queue, on the task's request or because it cannot be decoded or run.
    REJECTED = 5


class NextMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message that an execution leaves behind: the retry in place of its own, or a callback."""

    headers: bytes
    body: bytes
    content_type: str
    content_encoding: str
    exchange: str
    routing_key: str
    priority: int
    due_at: float | None
    task_id: str
    reply_to: str
    correlation_id: str
    properties: bytes | None = None


class Reply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the executor says of one execution.

    ``record`` is the result record to store (``taskd.protocol.results``), empty for none;
    ``state`` its state name.  ``text``: repr of the result, or the exception in one line, or the
    reason of a rejection: for logs, events and the dead-letter desk.  ``callbacks`` are sent when the
    message is acknowledged: callbacks and the next step of the chain after a success, errbacks after a
    failure.  ``softly``: it failed by ``SoftTimeLimitExceeded``, whoever had that raised.
    """

    end: End
    state: str = ""
    record: bytes = b""
    text: str = ""
    traceback: str = ""
    retry: NextMessage | None = None
    callbacks: Sequence[NextMessage] = ()
    softly: bool = False
    #: Tasks that were to follow and never will: they end as this one did.
    given_up: Sequence[str] = ()
    #: The parts of chords that have ended so.
    parts: Sequence[ChordPart] = ()
    #: Chords that a callback begins, to be known before it is sent.
    begins: Sequence[Begun] = ()
    #: The record is for the chord alone: nobody else may ask.
    silent: bool = False


_encoder = msgspec.msgpack.Encoder()
_payload_decoder = msgspec.msgpack.Decoder(Payload)
_reply_decoder = msgspec.msgpack.Decoder(Reply)

encode = _encoder.encode
decode_payload = _payload_decoder.decode
decode_reply = _reply_decoder.decode
