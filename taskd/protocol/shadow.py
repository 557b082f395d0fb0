"""Between ``taskctl import --shadow`` and the process that has the app: messages in, judgements out.

Each is msgpack behind four bytes of length.  Both ends are of one release: the process is asked for by name,
and a Python with another taskd says so at once (``JudgeReady.release``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TypeVar

import msgspec

from taskd.base.errors import ProtocolError
from taskd.protocol.delivery import Delivery

_T = TypeVar("_T")
_LENGTH_BYTES = 4


class MessageFate(str, Enum):
    """The end of a message, had taskd's worker got it."""

    RUN = "run"
    #: It waits for its time in the broker, and runs then.
    WAIT = "wait"
    #: It ends as REVOKED without a run, as in Celery.
    END = "end"
    #: It cannot be read as a task of the app: a dead letter.
    REFUSE = "refuse"
    #: No task of the app has its name: a dead letter.
    UNKNOWN = "unknown"


#: A person must look at these before the switch.
FAILING = frozenset({MessageFate.REFUSE, MessageFate.UNKNOWN})


class JudgeReady(msgspec.Struct, frozen=True, array_like=True):
    """The app is there."""

    release: str
    #: The options of each task, as a person reads them.
    tasks: Mapping[str, str]


class Sighting(msgspec.Struct, frozen=True, array_like=True):
    """One message, and the wall-clock second at which it was seen."""

    delivery: Delivery
    seen_at: float


class Judgement(msgspec.Struct, frozen=True, array_like=True):
    """The verdict on one message."""

    queue: str
    #: Empty when the message does not say.
    task: str
    task_id: str
    fate: MessageFate
    #: Empty for one that runs.
    reason: str = ""
    #: The host that sent it, or the language of its sender; empty when the message does not say.
    sender: str = ""


_encode = msgspec.msgpack.Encoder().encode
_ready = msgspec.msgpack.Decoder(JudgeReady).decode
_sightings = msgspec.msgpack.Decoder(list[Sighting]).decode
_judgements = msgspec.msgpack.Decoder(list[Judgement]).decode


def framed(value: JudgeReady | Sequence[Sighting] | Sequence[Judgement]) -> bytes:
    """Return a value as it is sent."""
    data = _encode(value)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def read_ready(read: Callable[[int], bytes]) -> JudgeReady:
    """Read one; ``read`` returns fewer bytes than asked for at the end alone.  Raises: ``ProtocolError``."""
    return _read(read, _ready)


def read_judgements(read: Callable[[int], bytes]) -> Sequence[Judgement]:
    """Do the same for judgements."""
    return _read(read, _judgements)


def read_sightings(read: Callable[[int], bytes]) -> Sequence[Sighting]:
    """Do the same for messages."""
    return _read(read, _sightings)


def _read(read: Callable[[int], bytes], decode: Callable[[bytes], _T]) -> _T:
    head = read(_LENGTH_BYTES)
    data = read(int.from_bytes(head, "big")) if len(head) == _LENGTH_BYTES else b""
    try:
        return decode(data)
    except msgspec.MsgspecError as error:
        raise ProtocolError("the other side has ended, or is not of this release") from error
