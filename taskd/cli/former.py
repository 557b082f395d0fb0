"""The brokers that a reload has left behind, and how much still waits in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskd.base.errors import TaskdError
from taskd.brokers.factory import connect
from taskd.cli.daemon import Status
from taskd.config.load import load


@dataclass(frozen=True, slots=True)
class Former:
    """One such broker; ``waiting`` is None where this user can not see it, or it does not answer."""

    address: str
    file: str
    waiting: int | None = None
    dead: int = 0

    @property
    def command(self) -> str:
        """The command that shows its queues."""
        return f"taskctl --config {self.file} queues"


def former_brokers(status: Status) -> Sequence[Former]:
    """Return those that the daemon tells of; nothing is asked of the brokers."""
    match status.taskd.get("reload"):
        case {"former_brokers": list(rows)}:
            return [
                Former(str(row.get("address")), str(row.get("file"))) for row in rows if isinstance(row, dict)
            ]
    return ()


def measured(former: Former) -> Former:
    """Return one with what waits there now.  Blocks as long as the broker's own timeouts."""
    try:
        config = load(former.file)
        broker = connect(config.broker, config.stores)
        try:
            queues = broker.desk().queues()
        finally:
            broker.close()
    except (TaskdError, OSError):
        return former
    waiting = sum(queue.ready + queue.delayed + queue.claimed for queue in queues)
    return Former(former.address, former.file, waiting, sum(queue.dead for queue in queues))
