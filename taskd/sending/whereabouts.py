"""Why a task has not ended, as far as its sender can know: for the error of whoever waited in vain."""

from __future__ import annotations

from contextlib import closing

import msgspec

from taskd.base import clock
from taskd.base.errors import BackendError, ConfigError
from taskd.base.plural import counted
from taskd.brokers.desk import QueueInfo
from taskd.config.kinds import BrokerCan
from taskd.config.serving import unserved
from taskd.sending.connections import Connections

#: Of a task that another process sent.
UNKNOWN = "nothing has begun it, or there is no such task"


class Sent(msgspec.Struct, frozen=True, gc=False):
    """The facts that the sender of a message knows of it."""

    queue: str
    #: Wall clock; None for at once.
    due_at: float | None = None


def whereabouts(sent: Sent | None, connections: Connections) -> str:
    """Return why a task that is PENDING may not have begun; asks the broker, and never raises for it."""
    if sent is None:
        return UNKNOWN
    now = clock.now()
    if sent.due_at is not None and sent.due_at > now:
        return f"it is not due before {clock.iso(sent.due_at)}"
    try:
        if said := unserved(sent.queue, connections.config):
            return said
        return _in_queue(sent.queue, _info(sent.queue, connections))
    except (BackendError, ConfigError) as error:
        return f"the broker cannot be asked why ({error})"


def _info(queue: str, connections: Connections) -> QueueInfo | None:
    if BrokerCan.REPORT not in connections.config.broker_kind.can:
        return None  # it would make a connection first, which may take long
    with closing(connections.desk()) as desk:
        empty = QueueInfo(queue, 0, 0, 0, 0)
        return next((each for each in desk.queues() if each.name == queue), empty)


def _in_queue(queue: str, info: QueueInfo | None) -> str:
    if info is None:
        return f'it was sent to the queue "{queue}"'
    if info.ready or info.claimed or info.unacked:
        held = info.claimed + info.unacked
        waiting = counted(info.ready, "waits", "wait")
        taken = counted(held, "is", "are")
        nobody = "" if held else ": is a worker up that takes from it?"
        return f'in its queue "{queue}" {waiting} and {taken} with workers{nobody}'
    return f'its queue "{queue}" is empty: the task was taken and not kept, or its result has expired'
