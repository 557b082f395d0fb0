"""Tasks during which a whole worker died."""

from __future__ import annotations

import msgspec
import pytest

from taskd.consumer.claiming.suspects import Suspects
from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.child_loss import decide
from taskd.protocol.delivery import Dead, Delivery, Requeue
from taskd.protocol.ledger import MAX_KEY_BYTES, key_of
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

    assert decide(1, 3, lost, 7).settlement == Requeue(7, died=True)
    dead = decide(2, 3, lost, 7).settlement

    assert isinstance(dead, Dead)
    assert dead.reason == "its worker died 3 times"
    assert "running tasks: 1" in msgspec.json.decode(dead.evidence)["last_words"]


@pytest.mark.parametrize("task_id", ["", "x" * 1000, "ä" * 40, "\udcff", "a\0b"])
def test_every_id_has_a_key_that_fits(task_id: str) -> None:
    assert 0 < len(key_of(task_id)) <= MAX_KEY_BYTES
    assert b"\0" not in key_of(task_id)


def request(task_id: str = "x", *, deaths: int) -> WorkerRequest:
    return WorkerRequest(delivery(deaths=deaths), TaskHeaders(id=task_id, task="t"), TaskOptions(name="t"), 1)


def test_of_tasks_in_their_last_life_one_runs_at_a_time_and_others_run_beside_it() -> None:
    last, earlier, fresh = request(deaths=2), request(deaths=1), request(deaths=0)
    suspects = Suspects()

    assert suspects.must_wait(request(deaths=2), [fresh, earlier, last], 3)
    assert not suspects.must_wait(request(deaths=2), [fresh, earlier], 3)
    assert not suspects.must_wait(earlier, [last], 3)
    assert not suspects.must_wait(fresh, [last], 3)


def test_where_one_death_is_too_much_the_first_suspects_take_turns_already() -> None:
    assert Suspects().must_wait(request(deaths=1), [request(deaths=1)], 2)
    assert not Suspects().must_wait(request(deaths=0), [request(deaths=0)], 1)


def test_where_children_die_alone_only_the_suspects_of_this_worker_take_turns() -> None:
    suspects = Suspects([key_of("a"), key_of("b")], only_own=True)
    for name in ("a", "b"):
        suspects.take(delivery(name), name)
    own, other = request("a", deaths=2), request("c", deaths=2)

    assert suspects.must_wait(request("b", deaths=2), [other, own], 3)
    assert not suspects.must_wait(request("b", deaths=2), [other], 3)
    assert not suspects.must_wait(other, [own], 3)
