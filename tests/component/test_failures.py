"""A task that fails for good leaves its message, whichever way it fails, unless the file says otherwise."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from taskd.base.errors import StorageFullError
from taskd.brokers.desk import DeadFilter, DeadMessage
from taskd.config.stores import FailuresConfig
from taskd.consumer.running.failing import shortened
from taskd.protocol.delivery import LetterKind
from tests.component.small_worker import SmallWorker, message
from tests.waiting import wait_until

FAILED = DeadFilter(kind=LetterKind.FAILED)
HERE = "tests.component.failing_app:app"


class Worker(SmallWorker):
    """A worker of ``failing_app``; ``bounds`` are those of its letters."""

    def __init__(self, pool: str = "threads", *, bounds: FailuresConfig | None = None, **more: Any) -> None:
        super().__init__(pool, app=HERE, **more)
        if bounds is not None:
            live = self.parts.live
            live.exchange(replace(live.config, failures=bounds), live.worker)

    def failed(self, task_id: str) -> DeadMessage | None:
        desk = self.broker.desk()
        for letter in desk.dead_letters(FAILED):
            if letter.task_id == task_id:
                return desk.dead_letter(letter.id)
        return None

    def letter(self, task_id: str) -> tuple[DeadMessage, dict[str, Any]]:
        found = wait_until(lambda: self.failed(task_id), 20, f"the letter of {task_id}")
        return found, json.loads(found.evidence)

    def is_settled(self) -> bool:
        return all(queue.ready + queue.claimed == 0 for queue in self.broker.desk().queues())


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_task_that_raises_leaves_its_message_with_what_is_known(pool: str) -> None:
    with Worker(pool) as worker:
        worker.send(message("failing.raises", "it", "an argument"))

        letter, evidence = worker.letter("it")

        assert worker.outcome("it")[0] == "FAILURE"
        assert json.loads(letter.body)[0] == ["an argument"]
        assert letter.letter.reason == "ValueError: an argument"
        assert "raise ValueError(what)" in evidence["traceback"]
        assert (evidence["attempts"], evidence["deliveries"], evidence["deaths"]) == (1, 1, 0)
        assert evidence["worker"]
        assert evidence["pid"] > 0
        assert 0.0 <= evidence["runtime_s"] < 60.0
        wait_until(worker.is_settled)
        assert worker.dead_letters() == {}


def test_success_and_retries_leave_nothing_and_the_last_failure_one_letter() -> None:
    with Worker() as worker:
        worker.send(message("failing.succeeds", "fine"), message("failing.retries", "again"))

        _, evidence = worker.letter("again")

        assert evidence["attempts"] == 3
        assert worker.outcome("fine") == ("SUCCESS", 1)
        wait_until(worker.is_settled)
        assert len(worker.broker.desk().dead_ids(FAILED)) == 1


def test_a_retry_that_was_sent_beside_the_failure_is_no_end() -> None:
    with Worker() as worker:
        worker.send(message("failing.retries_beside", "it"))

        _, evidence = worker.letter("it")

        assert evidence["attempts"] == 2
        assert len(worker.broker.desk().dead_ids(FAILED)) == 1


@pytest.mark.parametrize("task", ["raises_early", "rejects_early"])
def test_a_task_that_was_acknowledged_before_leaves_its_message_beside(task: str) -> None:
    with Worker() as worker:
        worker.send(message(f"failing.{task}", "it", "late"))

        letter, evidence = worker.letter("it")

        assert "late" in letter.letter.reason
        assert evidence["attempts"] == 1
        assert worker.broker.desk().requeue_dead([letter.letter.id]) == 1
        again, _ = worker.letter("it")
        assert again.letter.id != letter.letter.id


@pytest.mark.parametrize("task", ["hangs", "hangs_early"])
def test_a_task_that_its_limit_ends_leaves_its_message(task: str) -> None:
    with Worker("prefork") as worker:
        worker.send(message(f"failing.{task}", "it"))

        letter, evidence = worker.letter("it")

        assert letter.letter.reason == "it was ended by its limit of 0.2 s"
        assert evidence["limit_s"] == 0.2


def test_a_task_whose_process_died_after_its_acknowledgement_leaves_its_message() -> None:
    with Worker("prefork") as worker:
        worker.send(message("failing.dies_early", "it"))

        letter, evidence = worker.letter("it")

        assert letter.letter.reason == "its process died: exit code 7"
        assert evidence["exit_code"] == 7
        assert "the last line" in evidence["last_lines"]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("raises_unpicklable", "Odd: odd"),
        ("raises_huge", "ValueError: " + "x" * 500),
        ("raises_surrogates", "ValueError: half a character: \\udcff"),
        ("returns_nonsense", "SerializationError: "),
        ("breaks_its_repr", "Broken: <str failed with RuntimeError>"),
    ],
)
def test_whatever_is_raised_can_be_kept(task: str, reason: str) -> None:
    with Worker() as worker:
        worker.send(message(f"failing.{task}", "it"))

        letter, evidence = worker.letter("it")

        assert letter.letter.reason.startswith(reason)
        assert len(letter.letter.reason) <= 1_000
        assert len(evidence["traceback"]) < 70_000
        assert worker.outcome("it")[0] == "FAILURE"


def test_a_failure_with_errbacks_calls_them_and_is_kept() -> None:
    with Worker() as worker:
        errback = {"task": "failing.remembers", "args": [], "kwargs": {}, "options": {"task_id": "errback"}}
        worker.send(message("failing.raises", "it", "x", errbacks=[errback]))

        worker.letter("it")

        assert worker.outcome("errback") == ("SUCCESS", "it")


@pytest.mark.parametrize("task", ["raises", "raises_early"])
@pytest.mark.parametrize("bounds", [FailuresConfig(keep=0.0), FailuresConfig(max_bytes=10)])
def test_nothing_is_kept_when_the_file_says_so(
    bounds: FailuresConfig, task: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Worker(bounds=bounds) as worker:
        worker.send(message(f"failing.{task}", "it", "x"))

        assert worker.outcome("it")[0] == "FAILURE"
        wait_until(worker.is_settled)
        worker.send(message("failing.succeeds", "after"))
        assert worker.outcome("after") == ("SUCCESS", 1)
    assert list(worker.broker.desk().dead_ids(DeadFilter(kind=None))) == []
    assert ("[failures] max_bytes = 10" in caplog.text) == (bounds.keep > 0.0)


def test_a_task_that_keeps_no_failures_leaves_none() -> None:
    with Worker() as worker:
        worker.send(message("failing.raises_in_secret", "secret", "x"), message("failing.raises", "it", "x"))

        worker.letter("it")

        assert worker.outcome("secret")[0] == "FAILURE"
        wait_until(worker.is_settled)
        assert len(worker.broker.desk().dead_ids(FAILED)) == 1


def test_a_full_disk_puts_the_end_off_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker()
    intake_of = worker.broker.intake
    refused: list[int] = []

    def intake(*args: Any, **more: Any) -> Any:
        opened = intake_of(*args, **more)
        settle = opened.settle

        def full_at_first(outcomes: Any) -> Any:
            if len(refused) < 2:
                refused.append(len(outcomes))
                raise StorageFullError("the disk is full")
            return settle(outcomes)

        monkeypatch.setattr(opened, "settle", full_at_first)
        return opened

    monkeypatch.setattr(worker.broker, "intake", intake)
    with worker:
        worker.send(message("failing.raises", "it", "x"))

        _, evidence = worker.letter("it")

        assert (len(refused), evidence["deliveries"]) == (2, 1)
        assert len(worker.broker.desk().dead_ids(FAILED)) == 1


def test_a_long_traceback_keeps_its_beginning_and_its_end() -> None:
    text = f"first{'-' * 100_000}last"

    kept = shortened(text)

    assert (kept[:6], kept[-5:]) == ("first-", "-last")
    assert f"[{len(text) - 65_536} characters left out]" in kept
    assert shortened("short") == "short"
