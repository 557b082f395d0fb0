"""Huey's side of the benchmarks."""

from __future__ import annotations

import os
import time

from huey import SqliteHuey

# Without BENCH_HUEY_FSYNC=off as it comes: SQLite's default syncs each commit, as taskd's "full" does.
# With it there is no sync at all, which is a little less than taskd's "normal" (a sync at checkpoints).
_fsync = False if os.environ.get("BENCH_HUEY_FSYNC") == "off" else None
huey = SqliteHuey("bench", filename=os.environ.get("BENCH_HUEY_DB", ":memory:"), fsync=_fsync)


@huey.task()  # type: ignore[untyped-decorator]
def noop() -> None:
    """Do nothing."""


@huey.task()  # type: ignore[untyped-decorator]
def started_at() -> float:
    """Return the machine's monotonic time at the start of the task."""
    return time.monotonic()


def open_queue(path: str) -> SqliteHuey:
    """Point the module's queue at a file; its tasks are registered with this one object only."""
    huey.storage.close()
    huey.storage_kwargs["filename"] = path
    huey.storage = huey.create_storage()
    return huey


def enqueue_noop(queue: SqliteHuey) -> None:
    """Send one no-op to a queue that another process will drain."""
    queue.enqueue(noop.s())


def enqueue_started_at(queue: SqliteHuey) -> object:
    """Send one clock reading; return Huey's result handle."""
    return queue.enqueue(started_at.s())
