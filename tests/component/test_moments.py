"""The moments of a worker: what happens comes once a turn, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from taskd.consumer.moments import RunEnded, RunStarted, Settled
from taskd.consumer.request import WorkerRequest
from tests.component import barrier_app
from tests.component.small_worker import SmallWorker, message
from tests.waiting import wait_until


def ids(batch: Sequence[WorkerRequest] | Sequence[RunStarted] | Sequence[RunEnded]) -> list[str]:
    return [each.headers.id for each in batch]


def test_a_batch_of_messages_is_one_moment_at_each_stage() -> None:
    worker = SmallWorker(concurrency=4, events=False)
    heard: list[tuple[str, list[str]]] = []
    moments = worker.parts.moments
    moments.received.subscribe(lambda batch: heard.append(("received", ids(batch))))
    moments.started.subscribe(lambda batch: heard.append(("started", ids(batch))))
    moments.ended.subscribe(lambda batch: heard.append(("ended", ids(batch))))
    names = [f"t-{number}" for number in range(4)]
    worker.send(*(message("note", name, "a") for name in names))

    with worker:
        for name in names:
            assert worker.outcome(name)[0] == "SUCCESS"

    assert heard[0] == ("received", names), "one claim, one moment"
    for stage in ("started", "ended"):
        assert sorted(name for told, batch in heard if told == stage for name in batch) == names
    for name in names:
        stages = [stage for stage, batch in heard if name in batch]
        assert stages == ["received", "started", "ended"]


def test_a_message_that_does_not_run_has_an_end_and_no_run() -> None:
    ended: list[RunEnded] = []
    with SmallWorker() as worker:
        worker.do(partial(worker.parts.moments.ended.subscribe, ended.extend))
        worker.send(message("unknown", "no-task"))
        assert worker.outcome("no-task")[0] == "FAILURE"
        wait_until(lambda: ended)

        (end,) = ended
        assert (end.headers.id, end.ran, end.reply, end.options) == ("no-task", False, None, None)
        assert worker.consumer.tally.done == 0


def test_settlements_are_told_after_they_reached_the_broker_and_a_cold_stop_tells_what_it_cut_off() -> None:
    barrier_app.begun.clear()
    barrier_app.gate.clear()
    settled: list[Settled] = []
    lost: list[str] = []
    with SmallWorker() as worker:
        worker.do(partial(worker.parts.moments.settled.subscribe, settled.append))
        worker.do(
            lambda: worker.parts.moments.lost.subscribe(
                lambda batch: lost.extend(each.request.headers.id for each in batch)
            )
        )
        worker.send(message("note", "done", "a"), message("gated", "cut", "b"))
        assert worker.outcome("done")[0] == "SUCCESS"
        wait_until(lambda: settled and barrier_app.begun["b"])
        assert [len(each.settlements) for each in settled] == [1]
        assert not settled[0].refused
    barrier_app.gate.set()

    assert lost == ["cut"]


def test_a_broken_subscriber_harms_no_task() -> None:
    def fails(_: object) -> None:
        raise ValueError("nobody foresaw this")

    worker = SmallWorker()
    moments = worker.parts.moments
    for moment in (moments.received, moments.ended, moments.settled):
        moment.subscribe(fails)
    worker.send(message("note", "a", "a"))

    with worker:
        assert worker.outcome("a")[0] == "SUCCESS"
