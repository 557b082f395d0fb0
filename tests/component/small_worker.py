"""One worker in a thread of the test: the real consumer and any pool, over a broker in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any
from uuid import uuid4

from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.brokers.base import Broker
from taskd.brokers.desk import DeadLetter
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.consumer.consumer import Consumer
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.orders import Orders
from taskd.consumer.running.errands import Errands
from taskd.consumer.running.work import Work
from taskd.pools.base import Pool
from taskd.protocol.delivery import Outgoing
from taskd.protocol.results import decode_record
from taskd.protocol.status import StatusLine
from taskd.results.memory import MemoryResults
from taskd.worker.pool_events import PoolEvents
from taskd.worker.pools import make_pool
from tests.component.barrier_app import APP
from tests.component.worker_parts import worker_parts
from tests.component.worker_thread import SharedBroker, WorkerThread
from tests.waiting import wait_until


def message(task: str, task_id: str, *args: object, **embed: object) -> Outgoing:
    """Return a message as Celery writes it."""
    headers = json.dumps({"lang": "py", "task": task, "id": task_id}).encode()
    body = json.dumps([list(args), {}, embed]).encode()
    return Outgoing(routing_key="default", headers=headers, body=body, task_id=task_id)


class SmallWorker(WorkerThread):
    """``with SmallWorker(...)`` runs it until the end of the block."""

    def __init__(
        self,
        pool: str = "threads",
        *,
        app: str = APP,
        loop: Callable[[], Loop] = Loop,
        broker: Callable[[str], Broker] = SharedBroker,
        **worker: Any,
    ) -> None:
        super().__init__("worker")
        table = WorkerConfig(name="main", pool=pool, **{"concurrency": 2, **worker})
        config = Config(app=app, workers={table.name: table})
        self.reports: list[StatusLine] = []
        self.loop = loop()
        self.broker = broker(f"memory://{uuid4()}")
        self.results = MemoryResults(f"memory://{uuid4()}")
        live, orders = LiveConfig(config, table), Orders()
        events = PoolEvents(live, orders, self.reports.append)
        self.pool = self._made_pool(table, config, events)
        self.parts = worker_parts(
            self.loop,
            self.pool,
            self.broker,
            results=self.results,
            report=self.reports.append,
            work=Work(self.pool, events.tasks, events.requests, Errands(self.pool), events.needs),
            live=live,
            orders=orders,
        )
        self.consumer = Consumer(self.parts)
        self.failure: BaseException | None = None

    def _made_pool(self, table: WorkerConfig, config: Config, events: PoolEvents) -> Pool:
        return make_pool(table, config, "main-1@here", events, None).pool

    def _run(self) -> None:
        try:
            self.pool.start(self.loop, self.consumer.outcomes.take)
            self.consumer.run()
            self.pool.kill()
            deadline = Deadline.after(5.0)
            while not self.pool.stopped and not deadline.passed:
                self.loop.run_once(0.1)
            self.consumer.finish(())
        except BaseException as error:
            self.failure = error
            raise

    def send(self, *messages: Outgoing) -> None:
        """Publish as a client does."""
        self.broker.publisher().publish(messages)

    def outcome(self, task_id: str) -> tuple[str, object]:
        """Wait for the end of a task; return its state and its result or exception."""
        record = wait_until(lambda: self._record(task_id), 20, f"the end of {task_id}")
        found = decode_record(record)
        return found.status, found.exception() or found.value()

    def _record(self, task_id: str) -> bytes | None:
        assert self.alive, "the worker has ended"
        return self.results.get([task_id]).get(task_id)

    def dead_letters(self) -> Mapping[str, DeadLetter]:
        """Return the dead letters by task id."""
        return {each.task_id: each for each in self.broker.desk().dead_letters()}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)
        self.broker.close()
        self.loop.close()
