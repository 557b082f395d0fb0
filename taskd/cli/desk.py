"""Open the operator's view of the configured broker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from taskd.base.nearest import nearest
from taskd.brokers.desk import Desk, QueueInfo
from taskd.brokers.factory import connect
from taskd.cli.output import Failure
from taskd.config.schema import Config
from taskd.config.serving import unserved


@contextmanager
def open_desk(config: Config) -> Iterator[Desk]:
    """Open the desk and close the broker afterwards.  Raises: ``BackendError``."""
    broker = connect(config.broker, config.stores)
    try:
        yield broker.desk()
    finally:
        broker.close()


def left_alone(queues: Sequence[QueueInfo], config: Config) -> Iterator[str]:
    """Say of each queue in which something waits that no worker of the file takes from it, and the remedy."""
    for queue in queues:
        if (queue.ready or queue.delayed) and (said := unserved(queue.name, config)):
            yield said


def require_queue(desk: Desk, name: str) -> None:
    """Raise ``Failure`` with the nearest name when there is no such queue."""
    names = [queue.name for queue in desk.queues()]
    if name in names:
        return
    hint = nearest(name, names)
    known = f'did you mean "{hint}"?' if hint else f"there are: {', '.join(names) or 'none'}"
    raise Failure(f'there is no queue "{name}"; {known}')
