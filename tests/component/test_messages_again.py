"""A message that comes again while it still runs in the worker is held, and gets the outcome of that run."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from taskd.base.backoff import Backoff
from taskd.brokers.memory.intake import MemoryIntake
from taskd.consumer import consumer as consumers
from tests.component import barrier_app
from tests.component.small_worker import SmallWorker, message
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "RECONNECT", Backoff(base_s=0.001, max_s=0.004))
    barrier_app.begun.clear()
    barrier_app.gate.clear()


def is_later_than(generation: int, worker: SmallWorker) -> bool:
    return worker.consumer._claims.generation > generation


def left(worker: SmallWorker) -> int:
    return sum(each.ready + each.delayed + each.claimed for each in worker.broker.desk().queues())


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_what_still_runs_when_its_claim_is_lost_runs_once(pool: str) -> None:
    with SmallWorker(pool, lease=0.3, concurrency=4) as worker:
        worker.send(message("gated", "long", "a"), message("gated_early", "early", "b"))
        wait_until(lambda: barrier_app.begun["a"] and barrier_app.begun["b"])

        for _ in range(3):  # what RabbitMQ does at the end of its consumer_timeout
            former = worker.consumer._claims.generation
            worker.broker.intake("main-1@here", ["default"]).close()
            wait_until(partial(is_later_than, former, worker))
            wait_until(lambda: worker.broker.desk().queues()[0].claimed == 1)
        barrier_app.gate.set()

        assert worker.outcome("long") == ("SUCCESS", "a")
        assert worker.outcome("early") == ("SUCCESS", "b")
        wait_until(lambda: left(worker) == 0)
        assert barrier_app.begun == {"a": 1, "b": 1}
        assert worker.dead_letters() == {}


def test_a_message_that_its_broker_hands_out_twice_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As kombu's transports with a visibility time do."""
    claim = MemoryIntake.claim
    with SmallWorker() as worker:
        worker.send(message("gated", "long", "a"))
        wait_until(lambda: barrier_app.begun["a"])
        (request,) = worker.parts.work.requests.values()

        def claim_again(self: MemoryIntake, limit: int) -> object:
            monkeypatch.setattr(MemoryIntake, "claim", claim)
            return [msgspec.structs.replace(request.delivery, deliveries=2)]

        monkeypatch.setattr(MemoryIntake, "claim", claim_again)
        wait_until(lambda: request.twins)
        barrier_app.gate.set()

        assert worker.outcome("long") == ("SUCCESS", "a")
        wait_until(lambda: left(worker) == 0)
        assert barrier_app.begun == {"a": 1}


def test_two_messages_of_one_id_are_two() -> None:
    with SmallWorker() as worker:
        worker.send(message("gated", "same", "a"), message("gated", "same", "a"))

        wait_until(lambda: barrier_app.begun["a"] == 2)
        barrier_app.gate.set()
        wait_until(lambda: left(worker) == 0)
