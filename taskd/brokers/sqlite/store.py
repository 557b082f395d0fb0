"""One open broker file with what every part of the broker needs beside it: clocks and wake-ups."""

from __future__ import annotations

from collections.abc import Collection

from taskd.brokers.sqlite.schema import INVARIANTS, SCHEMA
from taskd.brokers.timing import Timing
from taskd.config.stores import FailuresConfig, SqliteConfig, Stores
from taskd.storage.sqlite.database import Database, path_of
from taskd.storage.sqlite.upkeep import FileUpkeep
from taskd.storage.sqlite.wake import WakeSender


class BrokerFile:
    """A connection with its wake sender.  Each part of a broker has its own; not thread-safe."""

    def __init__(
        self, path: str, config: SqliteConfig, timing: Timing, failures: FailuresConfig | None = None
    ) -> None:
        self.timing = timing
        #: The bounds of letters of tasks that failed for good.
        self.failures = failures or FailuresConfig()
        self.path = path
        self.database = Database(
            path, SCHEMA, durability=config.durability, busy_timeout_s=config.busy_timeout
        )
        self.sender = WakeSender(path)

    def wake(self, queues: Collection[int]) -> None:
        """Wake the listeners of these queues; call it after the commit."""
        if queues:
            self.sender.wake(queues)

    def close(self) -> None:
        """Release the file and the sender.  May be called twice."""
        self.database.close()
        self.sender.close()


def open_upkeep(url: str, stores: Stores) -> FileUpkeep:
    """Return the file of a URL for ``taskctl store``; it is not opened yet."""
    return FileUpkeep(
        path_of(url),
        SCHEMA,
        durability=stores.sqlite.durability,
        busy_timeout_s=stores.sqlite.busy_timeout,
        invariants=INVARIANTS,
    )
