"""The Autoscaler step on real pools, also where more slots are not to be had."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from taskd.base.blueprint import Given
from taskd.base.lifecycle import Deadline
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.orders import Orders
from taskd.consumer.running.outcomes import Outlet
from taskd.consumer.running.work import Work
from taskd.pools.prefork.crew import Crew
from taskd.worker import autoscale
from taskd.worker.autoscale import Autoscaler
from taskd.worker.foundations import Timer
from taskd.worker.pool_events import PoolEvents
from taskd.worker.pool_step import PoolStep, RunningPool
from taskd.worker.program import WorkerProgram
from tests.component.pool_runner import Runner


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    monkeypatch.setattr(autoscale, "LOOK_EVERY_S", 0.02)
    runner = Runner("prefork", capacity=1)
    runner.until_ready()
    yield runner
    runner.close()


def started(runner: Runner, most: int, shrink_after: float = 0.3) -> Autoscaler:
    """Return the step, looking at the runner's pool."""
    worker = WorkerConfig("main", concurrency=most, min_concurrency=1, shrink_after=shrink_after)
    step = Autoscaler(WorkerProgram("main-1", Config(), worker))
    given = Given()
    given._put(Timer, runner.loop)
    live = LiveConfig(Config(), worker)
    events = PoolEvents(live, Orders(), lambda line: None)
    work = Work.of(runner.pool, events.tasks)
    given._put(PoolStep, RunningPool(work, events, Outlet(), lambda stage: None, lambda level: None))
    assert step.included()
    step.start(given)
    return step


def test_the_pool_follows_its_load(runner: Runner) -> None:
    step = started(runner, most=3)
    runner.submit(*[b"sleep 0.5"] * 3)

    runner.until(lambda: len(runner.pool.running()) == 3)
    assert step.info() == {"autoscaler": {"max": 3, "min": 1, "current": 3, "qty": 3}}

    runner.until_outcomes(3)
    runner.until(lambda: runner.pool.capacity == 1 and len(runner.pool.info().processes) == 1)
    step.stop(Deadline.after(0.0))


def test_a_pool_that_cannot_grow_goes_on_with_what_it_has(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(autoscale, "GROW_WITHIN_S", 0.1)
    monkeypatch.setattr(Crew, "fork", lambda self: None)  # as under a limit of processes
    step = started(runner, most=3)
    runner.submit(*[b"sleep 0.1"] * 10)

    runner.until(lambda: runner.pool.capacity == 3 and runner.pool.slots == 1)
    runner.until(lambda: runner.pool.capacity == 1 and runner.pool.ready)

    runner.until_outcomes(10)
    assert runner.pool.capacity == 1, "it tried again at once"
    assert "could not grow to concurrency=3" in caplog.text
    step.stop(Deadline.after(0.0))


def test_equal_bounds_need_no_autoscaler() -> None:
    for worker in (
        WorkerConfig("main", concurrency=3),
        WorkerConfig("main", concurrency=3, min_concurrency=3),
        WorkerConfig("main", min_concurrency=10_000),
    ):
        assert not Autoscaler(WorkerProgram("main-1", Config(), worker)).included()


def test_a_threads_pool_that_gets_no_more_threads_works_with_those_it_has(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    begin, left = threading.Thread.start, [2]

    def limited(thread: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    runner = Runner("threads", capacity=3)
    try:
        runner.until_ready()
        assert runner.pool.slots == 2
        runner.submit(b"echo a", b"echo b", b"echo c")
        runner.until_outcomes(3)
        assert "2 of 3 threads are there" in caplog.text
        left[0] = 1
        runner.until(lambda: runner.pool.slots == 3)
    finally:
        runner.close()
