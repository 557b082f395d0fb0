"""Workers of one cluster in one process: each a consumer with its loop in a thread, over a shared broker."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from taskd.base import clock
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.brokers.base import Broker
from taskd.config.programs import WorkerConfig
from taskd.consumer.consumer import Consumer
from taskd.consumer.neighbours.gossip import Gossip, Neighbours
from taskd.pools.base import Job, OnOutcomes, PoolInfo, RunningJob
from taskd.sending.options import TaskOptions
from tests.component.worker_parts import worker_parts
from tests.component.worker_thread import SharedBroker, WorkerThread


class HoldingPool:
    """Begins every job and ends none; the tests look at what was submitted."""

    capacity = slots = 4
    ready = True
    stopped = False

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def start(self, loop: Loop, on_outcomes: OnOutcomes) -> None:
        """Nothing to start."""

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs

    @property
    def held(self) -> int:
        return len(self.jobs)

    def running(self) -> Sequence[RunningJob]:
        return [RunningJob(job.tag, os.getpid(), clock.monotonic()) for job in self.jobs]

    def cancel(self, tag: int, signum: int) -> bool:
        return False

    def soften(self, tag: int) -> bool:
        return False

    def recall(self) -> Sequence[int]:
        return ()

    def resize(self, capacity: int) -> None:
        """Nothing to resize."""

    def info(self) -> PoolInfo:
        return PoolInfo("holding", 4)

    def stop(self, deadline: Deadline) -> None:
        """Nothing to stop."""

    def kill(self) -> None:
        self.jobs.clear()


class Node(WorkerThread):
    """One worker; ``with Node(...)`` runs it until the end of the block, and it says goodbye."""

    def __init__(
        self,
        url: str,
        name: str,
        broker: Callable[[str], Broker] = SharedBroker,
        queue: str = "default",
        **worker: Any,
    ) -> None:
        super().__init__(name)
        self.loop = Loop()
        self.broker = broker(url)
        self.pool = HoldingPool()
        self.parts = worker_parts(
            self.loop,
            self.pool,
            self.broker,
            TaskOptions(name="note"),
            name=name,
            queue=queue,
            worker=WorkerConfig(name="main", **worker),
        )
        self.consumer = Consumer(self.parts)

    def _run(self) -> None:
        self.consumer.run()
        self.pool.kill()
        self.consumer.finish(())
        self.broker.close()
        self.loop.close()

    def neighbours(self) -> Sequence[str]:
        """The other workers that this one sees alive."""
        seen = self.gossip
        return [] if seen is None else self.do(seen.names)

    @property
    def gossip(self) -> Neighbours | None:
        """The other workers as Gossip sees them, while it runs."""
        step = next((each for each in self.consumer.steps if isinstance(each, Gossip)), None)
        return None if step is None else step.neighbours


def new_url() -> str:
    """Return the URL of a broker that nobody else has."""
    return f"memory://{uuid4()}"
