"""A message on which the worker itself fails is parked and answered; all others run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskd.brokers.memory.broker import MemoryPublisher
from taskd.brokers.memory.intake import MemoryIntake
from taskd.consumer.claiming import admission, strategy
from taskd.consumer.claiming.admission import Admission
from taskd.consumer.claiming.intaking import Intaking
from taskd.consumer.running.outcomes import Outcomes
from taskd.consumer.settling import decided_ends
from taskd.results.memory import MemoryResults
from tests.component.small_worker import SmallWorker, message

EMPTY_CHORD = {
    "task": "celery.chord",
    "args": [],
    "kwargs": {
        "header": [{"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": []}}],
        "body": {"task": "note", "args": [], "kwargs": {}, "options": {}},
    },
    "options": {},
    "subtask_type": "chord",
}


def fails_on(task_id: str, original: Callable[..., object]) -> Callable[..., object]:
    """Return the function with a defect that only one message meets."""

    def defective(*args: object, **words: object) -> object:
        if task_id in repr((args, words)) or any(task_id in repr(getattr(a, "headers", "")) for a in args):
            raise IndexError(f"nobody foresaw {task_id}")
        return original(*args, **words)

    return defective


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (strategy, "decide"),
        (Admission, "_job"),
        (admission, "WorkerRequest"),
        (admission, "encode"),
        (Outcomes, "_done"),
        (Outcomes, "_finished"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_step_that_fails_on_one_message_costs_that_message(
    owner: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, fails_on("bad-1", getattr(owner, name)))
    with SmallWorker() as worker:
        worker.send(
            message("note", "good-1", "a"), message("note", "bad-1", "b"), message("note", "good-2", "c")
        )

        assert worker.outcome("good-1")[0] == worker.outcome("good-2")[0] == "SUCCESS"
        state, error = worker.outcome("bad-1")
        assert (state, type(error).__name__) == ("FAILURE", "WorkerLostError")
        letter = worker.dead_letters()["bad-1"]
        assert "nobody foresaw bad-1" in letter.reason
        evidence = worker.broker.desk().dead_letter(letter.id)
        assert evidence is not None
        assert b"Traceback" in evidence.evidence


def test_what_follows_a_message_that_cannot_be_found_out_does_not_keep_it_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decided_ends, "aftermath", fails_on("bad-1", decided_ends.aftermath))
    with SmallWorker() as worker:
        worker.send(message("unknown", "bad-1"))

        assert worker.outcome("bad-1")[0] == "FAILURE"
        assert "bad-1" in worker.dead_letters()


def test_what_no_store_takes_costs_its_own_task_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in ((MemoryResults, "store"), (MemoryPublisher, "publish"), (MemoryIntake, "settle")):
        with monkeypatch.context() as patch, SmallWorker() as worker:
            worker.send(
                *(message("note", f"good-{number}", "a") for number in range(4)),
                message("note", "bad-1", "b", callbacks=[{"task": "note", "options": {"task_id": "bad-2"}}]),
            )
            patch.setattr(owner, name, fails_on("bad-", getattr(owner, name)))

            assert {worker.outcome(f"good-{number}")[0] for number in range(4)} == {"SUCCESS"}
            worker.send(message("note", "later", "a"))
            assert worker.outcome("later")[0] == "SUCCESS"


def test_a_chord_of_nothing_behind_a_task_ends_no_worker() -> None:
    with SmallWorker() as worker:
        worker.send(
            message("note", "errback", "a", errbacks=[EMPTY_CHORD]),
            message("unknown", "unknown", errbacks=[EMPTY_CHORD]),
            message("note", "callback", "a", callbacks=[EMPTY_CHORD]),
        )

        for name in ("errback", "unknown", "callback"):
            assert worker.outcome(name)[0] in ("FAILURE", "SUCCESS")
        worker.send(message("note", "later", "a"))
        assert worker.outcome("later") == ("SUCCESS", "a")


def test_a_step_that_fails_for_no_message_s_sake_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Intaking.turn
    failed: list[bool] = []

    def fails_once(self: Intaking) -> None:
        if not failed:
            failed.append(True)
            raise IndexError("nobody foresaw this")
        turn(self)

    monkeypatch.setattr(Intaking, "turn", fails_once)
    with SmallWorker() as worker:
        worker.send(message("note", "later", "a"))

        assert worker.outcome("later") == ("SUCCESS", "a")
        assert any("nobody foresaw this" in str(line) for line in worker.reports)
