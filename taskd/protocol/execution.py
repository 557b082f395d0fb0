"""Between a worker and the executor in its pool: assignments in, replies out.

The parent reads only headers; the delivery travels as the broker gave it.  The executor reads them again,
which costs less than handing them on (decision 0025).
The format is msgpack arrays, private to one worker generation: both ends are always the same version.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

from taskd.protocol.chord import Begun, ChordPart
from taskd.protocol.delivery import Delivery, Outgoing


class Assignment(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One delivery for the executor."""

    delivery: Delivery
    #: The result record of a run that the worker has ended: hooks are to hear of it, nothing runs.
    ended: bytes = b""


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


class Reply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The report of the executor on one execution.

    ``record`` is the result record to store (``taskd.protocol.results``), empty for none;
    ``state`` its state name.  ``text``: repr of the result, or the exception in one line, or the
    reason of a rejection: for logs, events and the dead-letter desk.  ``callbacks`` are sent when the
    message is acknowledged: callbacks and the next step of the chain after a success, errbacks after a
    failure.  ``softly``: it failed by ``SoftTimeLimitExceeded``, from whichever side that came.
    """

    end: End
    state: str = ""
    record: bytes = b""
    text: str = ""
    traceback: str = ""
    retry: Outgoing | None = None
    callbacks: Sequence[Outgoing] = ()
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
_assignment_decoder = msgspec.msgpack.Decoder(Assignment)
_reply_decoder = msgspec.msgpack.Decoder(Reply)

encode = _encoder.encode
decode_assignment = _assignment_decoder.decode
decode_reply = _reply_decoder.decode
