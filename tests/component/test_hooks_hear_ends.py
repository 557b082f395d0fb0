"""Hooks hear of every failure, also of those that the worker decides, and each is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskd.consumer.orders import Shutdown
from tests.component import barrier_app
from tests.component.barrier_app import TOLD
from tests.component.small_worker import SmallWorker, message
from tests.waiting import wait_until


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_on_failure_hears_of_limits_and_of_deaths(
    pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv(TOLD, str(told))
    expected = {
        "f ['a'] FAILURE ValueError",
        "l ['b'] FAILURE TimeLimitExceeded",
        *(["d ['c'] FAILURE WorkerLostError"] if pool == "prefork" else []),
    }
    with SmallWorker(pool) as worker:
        worker.send(message("fail", "f", "a"), message("late", "l", "b"))
        if pool == "prefork":
            worker.send(message("die", "d", "c"))

        wait_until(lambda: told.exists() and len(told.read_text().splitlines()) == len(expected))
        assert set(told.read_text().splitlines()) == expected
        worker.send(message("note", "n", "e"))
        assert worker.outcome("n")[0] == "SUCCESS"
        wait_until(lambda: worker.consumer.tally.done == len(expected) + 1)
        assert worker.consumer.tally.failed == len(expected)
        assert len(worker.parts.work.errands) == 0


def test_a_hook_that_waits_for_a_slot_is_called_while_the_worker_drains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv(TOLD, str(told))
    barrier_app.begun.clear()
    barrier_app.gate.clear()
    worker = SmallWorker("threads", concurrency=1, prefetch=5)
    with worker:
        worker.send(message("late", "l", "b"), message("gated", "g", "c"))
        wait_until(lambda: barrier_app.begun["c"] and len(worker.parts.work.errands) == 1)
        worker.do(lambda: worker.parts.orders.request_shutdown(Shutdown.WARM))
        barrier_app.gate.set()

        wait_until(lambda: not worker.alive)
    assert told.read_text() == "l ['b'] FAILURE TimeLimitExceeded\n"
