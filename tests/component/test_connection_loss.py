"""The connection is lost in the middle of any call: nothing is lost, nothing is settled twice, and the
worker consumes again.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskd import App, BoundTask
from taskd.base.backoff import Backoff
from taskd.base.loop import Loop
from taskd.brokers.memory.broker import MemoryBroker
from taskd.config.programs import WorkerConfig
from taskd.consumer import consumer as consumers
from taskd.consumer.claiming import selfcheck
from taskd.consumer.consumer import Consumer
from taskd.consumer.orders import Shutdown
from taskd.execution.native.execute import Executor
from taskd.pools.threads import ThreadsPool
from taskd.protocol.delivery import Outgoing
from taskd.protocol.status import Ready, StatusLine, Waiting
from taskd.results.memory import MemoryResults
from taskd.sending.forms import Acks
from taskd.sending.options import TaskOptions
from tests.component.faulty_broker import Fault, Faults
from tests.component.worker_parts import worker_parts

TASKS = 8
LIMIT_S = 5.0

app = App(broker="memory://unused", results="null://")
_lock = threading.Lock()
runs: Counter[str] = Counter()


@app.task(name="note")
def note(what: str) -> str:
    with _lock:
        runs[what] += 1
    time.sleep(0.004)
    return what


@app.task(name="note_early", acks="early")
def note_early(what: str) -> str:
    return str(note.run(what))


@app.task(name="flaky", bind=True, max_retries=2)
def flaky(self: BoundTask, what: str) -> str:
    note.run(f"{what}/{self.request.retries}")
    if self.request.retries < 1:
        self.retry(countdown=0)
    return what


def message(task: str, what: str) -> Outgoing:
    headers = json.dumps({"lang": "py", "task": task, "id": what}).encode()
    return Outgoing(
        routing_key="default", headers=headers, body=json.dumps([[what], {}, {}]).encode(), task_id=what
    )


class Worker:
    """A consumer over a faulty broker and a pool of threads."""

    def __init__(
        self, plan: Mapping[int, Fault], around: Callable[[MemoryBroker], Any] | None = None
    ) -> None:
        runs.clear()
        self.faults = Faults(plan)
        self.broker = MemoryBroker(f"memory://{uuid4()}")
        faulty = self.faults.wrap(self.broker)
        self.loop = Loop()
        self.pool = ThreadsPool(2, Executor(app, "main-1@here"), on_ready=lambda: None)
        self.results = MemoryResults(f"memory://{uuid4()}")
        self.said: list[StatusLine] = []
        self.parts = worker_parts(
            self.loop,
            self.pool,
            around(self.broker) if around else faulty,
            TaskOptions(name="note"),
            TaskOptions(name="note_early", acks=Acks.EARLY),
            TaskOptions(name="flaky"),
            worker=WorkerConfig(name="main", lease=0.06),
            publisher=self.faults.wrap(self.broker.publisher()),
            results=self.faults.wrap(self.results),
            report=self.said.append,
        )
        self.consumer = Consumer(self.parts)
        self.pool.start(self.loop, self.consumer.outcomes.take)
        self.sent: list[str] = []
        self.deadline = time.monotonic() + LIMIT_S

    def send(self, batch: str, kinds: tuple[str, ...]) -> None:
        messages = [message(kinds[number % len(kinds)], f"{batch}{number}") for number in range(TASKS)]
        self.sent += [each.task_id for each in messages]
        self.broker.publisher().publish(messages)

    def run(self, kinds: tuple[str, ...]) -> None:
        """Work off one batch with the faults, then another one, then end warmly."""
        self.send("a", kinds)
        again = False

        def look() -> None:
            nonlocal again
            if time.monotonic() > self.deadline:
                self.parts.orders.request_shutdown(Shutdown.COLD)
            elif self.finished():
                if again:
                    self.parts.orders.request_shutdown(Shutdown.WARM)
                else:
                    again = True
                    self.send("b", kinds)
            self.loop.call_later(0.005, look)

        look()
        self.consumer.run()
        self.pool.kill()
        self.consumer.finish([])

    def finished(self) -> bool:
        return self.results.get(self.sent).keys() == set(self.sent) and all(
            queue.ready + queue.delayed + queue.claimed == 0 for queue in self.broker.desk().queues()
        )

    def check(self) -> None:
        calls = "\n".join(f"{number} {name}" for number, name in enumerate(self.faults.calls, 1))
        assert self.parts.orders.shutdown is Shutdown.WARM, f"it consumes no more after these calls:\n{calls}"
        assert all(b'"SUCCESS"' in record for record in self.results.get(self.sent).values())
        assert list(self.broker.desk().dead_letters()) == []
        twice = {tag: count for tag, count in Counter(self.faults.acknowledged).items() if count > 1}
        assert not twice, f"settled twice: {twice}\n{calls}"

    def close(self) -> None:
        self.broker.close()
        self.loop.close()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "RECONNECT", Backoff(base_s=0.001, max_s=0.004))


def work(plan: Mapping[int, Fault], kinds: tuple[str, ...]) -> Worker:
    worker = Worker(plan)
    worker.run(kinds)
    worker.close()
    return worker


CALLS = 60


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("start", range(1, CALLS, 12))
def test_each_single_call_may_fail(fault: Fault, start: int) -> None:
    for number in range(start, start + 12):
        worker = work({number: fault}, ("note",))

        worker.check()
        # The lease was never lost, so what ran is not run again.
        assert runs == Counter(worker.sent), f"call {number} {fault}"


def test_the_calls_that_fail_above_are_all_there_are() -> None:
    made = Counter(work({}, ("note",)).faults.calls)

    assert set(made) >= {"intake", "mailbox", "claim", "settle", "renew", "store", "depth", "next_due_at"}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.integers(1, CALLS), st.sampled_from(Fault), max_size=25))
def test_any_calls_may_fail(plan: dict[int, Fault]) -> None:
    worker = work(plan, ("note", "flaky"))

    worker.check()
    # What could not be said at the last moment is said again: never less than once.
    assert set(runs) >= {each for each in worker.sent if f"{each}/0" not in runs}


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.integers(1, CALLS), st.just(Fault.BEFORE), max_size=25))
def test_what_is_acknowledged_early_runs_once(plan: dict[int, Fault]) -> None:
    worker = work(plan, ("note_early",))

    worker.check()
    assert runs == Counter(worker.sent)


class Deaf:
    """A broker whose first intakes never hand out anything; they count messages all the same."""

    def __init__(self, broker: MemoryBroker, deaf: int) -> None:
        self._broker = broker
        self._deaf = deaf

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def intake(self, *args: Any, **words: Any) -> Any:
        intake = self._broker.intake(*args, **words)
        self._deaf -= 1
        if self._deaf >= 0:
            intake.claim = lambda limit: ()  # type: ignore[method-assign]
        return intake


def test_a_worker_that_is_connected_and_does_not_consume_starts_its_inner_blueprint_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(selfcheck, "LOOK_EVERY_S", 0.01)
    worker = Worker({}, lambda broker: Deaf(broker, deaf=2))

    worker.run(("note",))

    worker.check()
    assert runs == Counter(worker.sent)
    assert caplog.text.count("connected but not consuming") == 2
    assert sum(isinstance(line, Waiting) for line in worker.said) == 2
    assert isinstance([line for line in worker.said if isinstance(line, (Ready, Waiting))][-1], Ready)
    worker.close()
