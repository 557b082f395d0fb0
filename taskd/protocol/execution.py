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


class Cause(int, Enum):
    """Why the worker has decided the end of a task."""

    #: No task has its name.
    UNKNOWN = 0
    #: Its message does not say what to run, or how.
    MALFORMED = 1
    #: The process that ran it died, and it is not run again.
    LOST = 2
    #: Its hard time limit passed.
    TIMED_OUT = 3
    #: The executor, or the worker, failed on it.
    BROKEN = 4
    #: Somebody revoked it before it ran.
    REVOKED = 5
    #: Somebody ended it while it ran.
    TERMINATED = 6
    #: It was not begun in time.
    EXPIRED = 7


class DecidedEnd(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The end of a task that the worker has decided, not the task: a final state with its record."""

    task_id: str
    state: str
    record: bytes
    cause: Cause
    #: The signal that ended the run, 0 for none.
    signum: int = 0


class Assignment(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One delivery for the executor."""

    delivery: Delivery
    #: Nothing is to be run: the app is to hear of this end of it.
    ended: DecidedEnd | None = None


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
    #: An app that answers could not store how the run ended: nobody knows of its end yet.
    UNSTORED = 6
    #: Its time to run ended while it waited for its slot: nothing of it ran.
    EXPIRED = 7


class RecordPlace(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The place of a record that is not where the worker would put it."""

    key: str
    #: 0 for ever.
    life_s: float


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
    #: None for the worker's own keys and its own time to live.
    place: RecordPlace | None = None
    #: The process in which it failed; 0 for other ends.
    pid: int = 0


_encoder = msgspec.msgpack.Encoder()
_assignment_decoder = msgspec.msgpack.Decoder(Assignment)
_reply_decoder = msgspec.msgpack.Decoder(Reply)

encode = _encoder.encode
decode_assignment = _assignment_decoder.decode
decode_reply = _reply_decoder.decode
