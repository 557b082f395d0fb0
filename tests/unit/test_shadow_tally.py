"""The report of a shadow run: what it counts, what it says, what of it fails the import."""

from __future__ import annotations

import pytest

from taskd.cli.importing.plan import ImportPlan
from taskd.cli.importing.tally import ShadowTally, shadow_document, shadow_lines
from taskd.protocol.shadow import Judgement, MessageFate

OPTIONS = {"proj.add": "acks late, limit 60 s"}


def planned() -> ImportPlan:
    plan = ImportPlan()
    plan.table("worker.main").put("queues", ["fast"])
    plan.table("worker.main").put("concurrency", 4)
    return plan


def tally_of(*judgements: Judgement) -> ShadowTally:
    tally = ShadowTally(("fast", "slow"))
    for each in judgements:
        tally.take(each)
    return tally


def judgement(fate: MessageFate = MessageFate.RUN, task: str = "proj.add", **more: str) -> Judgement:
    return Judgement(more.pop("queue", "fast"), task, more.pop("task_id", "id-1"), fate, **more)


def report(tally: ShadowTally) -> str:
    return "\n".join(shadow_lines(tally, planned(), OPTIONS))


def test_each_fate_has_its_place_in_the_report() -> None:
    tally = tally_of(
        judgement(),
        judgement(MessageFate.WAIT, queue="slow"),
        judgement(MessageFate.END, reason="it has expired", sender="web1"),
        judgement(MessageFate.REFUSE, reason="pickle", sender="web1"),
        judgement(MessageFate.REFUSE, reason="pickle", sender="web2", task_id="id-2"),
        judgement(MessageFate.UNKNOWN, "proj.gone", reason="no such task"),
    )

    text = report(tally)

    assert "Shadow run: 6 messages seen in 2 queues" in text
    assert "none was taken" in text
    assert "  fast: 1 would run, 1 would end without a run, 2 would be refused, 1 not known; " in text
    assert "[worker.main], prefork of 4" in text
    assert "  slow: 1 would wait for the time of running; no worker of the file takes from it" in text
    assert "acks late, limit 60 s; queue fast, slow" in text
    assert "proj.add: 1 of 5, it has expired; queue fast, from web1 (1), such as id-1" in text
    assert "proj.add: 2 of 5, pickle; queue fast, from web1 (1), web2 (1), such as id-1" in text
    assert "proj.gone: 1 of 1, no such task; queue fast, from unknown (1), such as id-1" in text


@pytest.mark.parametrize(
    ("fate", "fails"),
    [
        (MessageFate.RUN, False),
        (MessageFate.WAIT, False),
        (MessageFate.END, False),
        (MessageFate.REFUSE, True),
        (MessageFate.UNKNOWN, True),
    ],
)
def test_what_would_be_a_dead_letter_fails_the_import(fate: MessageFate, fails: bool) -> None:
    assert tally_of(judgement(fate)).is_failing is fails


def test_a_watch_that_was_cut_off_fails_the_import_and_says_why() -> None:
    tally = tally_of(judgement())
    tally.ended_by, tally.is_cut_off = "the server is gone", True

    assert tally.is_failing
    assert "ended early: the server is gone" in report(tally)


def test_what_was_not_looked_at_is_said() -> None:
    tally = tally_of()
    tally.unseen = {"fast": 3, "": 1}

    assert "fast: nothing seen" in report(tally)
    assert "Not looked at:\n  fast: 3 messages\n  any of the queues: 1 message" in report(tally)


def test_senders_cannot_fill_the_memory_with_names() -> None:
    tally = tally_of(
        *(judgement(MessageFate.UNKNOWN, f"t{n}", reason=f"r{n}", sender=f"h{n}") for n in range(5000)),
        *(judgement(MessageFate.UNKNOWN, "one", reason="r", sender=f"h{n}") for n in range(5000)),
    )

    assert tally.seen == 10_000
    assert max(len(tally.by_task), len(tally.troubles), len(tally.places)) <= 1001
    assert all(len(each.senders) <= 21 for each in tally.troubles.values())


def test_programs_get_the_same() -> None:
    tally = tally_of(judgement(), judgement(MessageFate.REFUSE, reason="pickle", sender="web1"))

    document = shadow_document(tally, planned(), OPTIONS)

    fates = {"run": 1, "wait": 0, "end": 0, "refuse": 1, "unknown": 0}
    assert document["seen"] == 2
    assert document["tasks"] == [{"name": "proj.add", **fates, "options": OPTIONS["proj.add"]}]
    assert document["troubles"] == [
        {"fate": "refuse", "task": "proj.add", "reason": "pickle", "count": 1, "queues": ["fast"]}
        | {"senders": {"web1": 1}, "example": "id-1"}
    ]
