"""Finds the workers of a configuration that consume from a queue.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

from taskd.base.nearest import nearest
from taskd.config.kinds import BrokerCan
from taskd.config.schema import Config


def servers_of(queue: str, config: Config) -> Sequence[str] | None:
    """Return the names of the workers that take from a queue; None for a file without workers."""
    if not config.workers:
        return None
    return [name for name, worker in config.workers.items() if queue in worker.queues]


def unserved(queue: str, config: Config) -> str:
    """Return that no worker of the file takes from a queue, and the remedy; empty where one does.

    Empty also for a file without workers, as a client has it: they are in another.
    """
    if not config.workers or servers_of(queue, config):
        return ""
    served = sorted({each for worker in config.workers.values() for each in worker.queues})
    hint = nearest(queue, served)
    remedy = f'did you mean "{hint}"?' if hint else "add it to queues of a [worker.NAME]"
    spans = BrokerCan.SPAN_HOSTS in config.broker_kind.can
    others = " (those of other hosts are not known here)" if spans else ""
    return f'no worker of this file consumes from the queue "{queue}"{others}; {remedy}'
