"""What the consumer gives back when it is told to end at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from uuid import uuid4

import pytest

from taskd.base import clock
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.brokers.memory.broker import MemoryBroker
from taskd.config.programs import WorkerConfig
from taskd.consumer.consumer import Consumer
from taskd.consumer.orders import Shutdown
from taskd.pools.base import Job, OnOutcomes, PoolInfo, RunningJob
from taskd.protocol.delivery import Outgoing
from taskd.sending.forms import Acks
from taskd.sending.options import TaskOptions
from tests.component.worker_parts import worker_parts


class StuckPool:
    """Begins its first job and never ends it; the others wait."""

    capacity = 1
    slots = 1
    ready = True
    stopped = False

    def __init__(self) -> None:
        self.jobs: list[int] = []

    def start(self, loop: Loop, on_outcomes: OnOutcomes) -> None:
        """Nothing to start."""

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs += [job.tag for job in jobs]

    @property
    def held(self) -> int:
        return len(self.jobs)

    def running(self) -> Sequence[RunningJob]:
        return [RunningJob(tag, os.getpid(), clock.monotonic()) for tag in self.jobs[:1]]

    def cancel(self, tag: int, signum: int) -> bool:
        return False

    def soften(self, tag: int) -> bool:
        return False

    def recall(self) -> Sequence[int]:
        waiting, self.jobs = self.jobs[1:], self.jobs[:1]
        return waiting

    def resize(self, capacity: int) -> None:
        """Nothing to resize."""

    def info(self) -> PoolInfo:
        return PoolInfo("stuck", 1)

    def stop(self, deadline: Deadline) -> None:
        """Nothing to stop."""

    def kill(self) -> None:
        self.jobs.clear()


@pytest.mark.parametrize(("acks", "back"), [(Acks.LATE, 3), (Acks.EARLY, 2)])
def test_a_cold_stop_gives_back_what_had_not_begun(acks: Acks, back: int) -> None:
    loop, pool = Loop(), StuckPool()
    broker = MemoryBroker(f"memory://{uuid4()}")
    publisher = broker.publisher()
    worker = WorkerConfig(name="main", prefetch=10)
    parts = worker_parts(loop, pool, broker, TaskOptions(name="note", acks=acks), worker=worker)
    publisher.publish(
        [
            Outgoing(routing_key="default", headers=b'{"task":"note","id":"%d"}' % number, body=b"[[],{},{}]")
            for number in range(3)
        ]
    )
    consumer = Consumer(parts)

    def end_when_claimed() -> None:
        if pool.held == 3:
            parts.orders.request_shutdown(Shutdown.COLD)
        loop.call_soon(end_when_claimed)

    end_when_claimed()
    consumer.run()
    running = pool.running()
    pool.kill()
    consumer.finish(running)

    # The one that ran is given back too, unless it was acknowledged before it ran.
    assert [queue.ready for queue in broker.desk().queues()] == [back]
    broker.close()
    loop.close()
