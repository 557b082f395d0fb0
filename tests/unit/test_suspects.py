"""Tasks during which a whole worker died."""

from __future__ import annotations

import msgspec
import pytest

from taskd.consumer.claiming.suspects import MAX_KEY_BYTES, Suspects, key_of, must_wait
from taskd.consumer.request import Request
from taskd.consumer.running.child_loss import after_child_lost
from taskd.protocol.delivery import Dead, Delivery, Requeue
from taskd.protocol.message import TaskHeaders
from taskd.sending.options import TaskOptions


def delivery(task_id: str = "a", deaths: int = 0) -> Delivery:
    return Delivery(
        7, "default", task_id, b"{}", b"[]", "application/json", "utf-8", 0, 1, deaths, "", "", "", "default"
    )


def test_each_suspect_is_counted_once() -> None:
    suspects = Suspects([key_of("a"), key_of("b")], pid=77)

    lost = suspects.take(delivery("a"), "a")

    assert lost is not None
    assert (lost.tag, lost.pid, lost.started) == (7, 77, True)
    assert suspects.take(delivery("a"), "a") is None
    assert suspects.take(delivery("c"), "c") is None
    assert len(suspects) == 1


def test_a_suspect_runs_again_until_it_has_been_there_too_often() -> None:
    lost = Suspects([key_of("a")]).take(delivery(), "a")
    assert lost is not None

    assert after_child_lost(7, 1, 3, lost) == Requeue(7, died=True)
    dead = after_child_lost(7, 2, 3, lost)

    assert isinstance(dead, Dead)
    assert dead.reason == "its worker died 3 times"
    assert "running tasks: 1" in msgspec.json.decode(dead.evidence)["last_words"]


@pytest.mark.parametrize("task_id", ["", "x" * 1000, "ä" * 40, "\udcff", "a\0b"])
def test_every_id_has_a_key_that_fits(task_id: str) -> None:
    assert 0 < len(key_of(task_id)) <= MAX_KEY_BYTES
    assert b"\0" not in key_of(task_id)


def test_one_suspect_runs_at_a_time_and_others_run_beside_it() -> None:
    held = [
        Request(delivery(deaths=deaths), TaskHeaders(id="x", task="t"), TaskOptions(name="t"), 1)
        for deaths in (0, 1)
    ]

    assert must_wait(delivery(deaths=1), held)
    assert not must_wait(delivery(deaths=0), held)
    assert not must_wait(delivery(deaths=1), held[:1])
