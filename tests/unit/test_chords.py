"""What a worker does with the parts of chords: count them, and send the body once or fail it."""

from __future__ import annotations

import json

import pytest

from taskd.base.errors import StorageError
from taskd.consumer.settling.chords import ChordEnd, Chords, Returned
from taskd.protocol.chord import Begun
from taskd.protocol.exceptions import ChordError
from taskd.protocol.message import decode_body, decode_headers
from taskd.protocol.results import decode_record
from taskd.results.base import Counted
from taskd.results.memory import MemoryResults
from tests.unit.fake_chords import BODY, Store, part
from tests.unit.fake_stores import FakeIntake
from tests.unit.outward import Outward


def end(store: Store, *parts: Returned) -> ChordEnd:
    chords = Chords(store, MemoryResults("memory://chords"))
    *waiting, last = chords.count(parts)
    assert (set(waiting) <= {Counted.WAITS}, last) == (True, Counted.COMPLETE)
    ended = chords.end(parts[-1])
    assert ended is not None
    return ended


def test_the_body_is_sent_after_the_last_part_with_the_results_in_order() -> None:
    ended = end(Store(3), part("b", 20), part("a", 10), part("c", float("inf")))

    (message,) = ended.messages
    args, _, _ = decode_body(message.body, "application/json")
    headers = decode_headers(message.headers)
    assert (message.routing_key, message.task_id, args) == ("sums", "body", [[10, 20, float("inf")]])
    assert (headers.root_id, headers.parent_id) == ("root", "c")
    assert not ended.failed


def test_a_failed_part_fails_the_body_what_follows_it_and_the_chord_around_it() -> None:
    outer = {"chord": {"task": "all"}, "group_id": "outer", "group_index": 4}
    errback = {"task": "tell", "options": {}}
    options = {
        "task_id": "body",
        "link_error": [errback],
        "chain": [{"task": "next", "options": {"task_id": "n"}}],
    }

    ended = end(Store(2), part("a"), part("b", LookupError("x"), {**BODY, "options": {**options, **outer}}))

    error = decode_record(ended.record).exception()
    assert isinstance(error, ChordError)
    assert str(error) == "Dependency b raised LookupError('x')"
    assert sorted(ended.given_up) == ["body", "n"]
    assert [json.loads(each.body)[0] for each in ended.messages] == [["body"]]
    assert [(each.part.group, each.part.index, each.part.task_id) for each in ended.returned] == [
        ("outer", 4, "body")
    ]


def test_the_tasks_of_a_group_as_body_fail_with_the_error_of_the_part() -> None:
    group = {"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [BODY]}, "options": {}}

    ended = end(Store(1), part("a", LookupError("x"), group))

    assert isinstance(decode_record(ended.record).exception(), LookupError)
    assert ended.given_up == ["body"]


def test_a_body_that_cannot_be_sent_is_a_failure() -> None:
    ended = end(Store(1), part("a", 1, {**BODY, "options": {"task_id": "body", "countdown": "soon"}}))

    assert "Callback error" in str(decode_record(ended.record).exception())


def test_results_of_groups_in_the_header_are_lists_as_the_client_wrote_them_down() -> None:
    store = Store(2)
    store.saved = (
        b'{"result": [["group", null], [[["g", null], [[["a", null], null]]], [["b", null], null]]]}'
    )

    (message,) = end(store, part("a", 1), part("b", 2)).messages

    assert json.loads(message.body)[0] == [[[1], 2]]


def test_where_nobody_counts_the_body_fails_as_the_part_did() -> None:
    chords, failed = Chords(None, MemoryResults("memory://chords")), part("a", LookupError("x"))
    assert chords.count([failed]) == [Counted.COMPLETE]

    ended = chords.end(failed)

    assert ended is not None
    assert ended.given_up == ["body"]


def settling_with(store: Store) -> tuple[Outward, FakeIntake]:
    stores = FakeIntake()
    return Outward(stores, Chords(store, stores)), stores


def count(settling: Outward, returned: Returned) -> None:
    settling.count([returned.part], returned.record, returned.headers, returned.queue)


def test_the_body_leaves_before_the_chord_is_forgotten_and_the_failure_is_stored_first() -> None:
    for value, steps in ((1, ["count", "values", "finish"]), (LookupError(), ["count", "values", "fail"])):
        store = Store(1)
        settling, stores = settling_with(store)
        count(settling, part("a", value))

        settling.flush(stores)

        assert store.calls == steps
        assert stores.calls == (["publish"] if value == 1 else ["store"])
        assert not settling


@pytest.mark.parametrize("broken", ["count", "values", "publish", "finish"])
def test_what_fails_on_the_way_is_done_again_and_the_body_sent_once(broken: str) -> None:
    store = Store(1)
    settling, stores = settling_with(store)
    count(settling, part("a"))
    store.broken = broken
    stores.broken = {broken}

    with pytest.raises(StorageError):
        settling.flush(stores)
    assert settling
    store.broken, stores.broken = "", set()
    settling.flush(stores)

    assert (stores.calls, store.calls[-1]) == (["publish"], "finish")


def test_a_chord_of_which_another_has_the_claim_is_looked_at_again() -> None:
    store = Store(1)
    settling, stores = settling_with(store)
    count(settling, part("a"))
    store.answer = Counted.CLAIMED
    settling.flush(stores)
    assert (stores.calls, settling.first_at) == ([], 0.0)

    store.answer = None
    settling.recount()
    settling.flush(stores)

    assert stores.calls == ["publish"]


def test_a_chord_is_known_before_its_header_leaves() -> None:
    store = Store(1)
    settling, stores = settling_with(store)
    settling.begin([Begun("g", 7)])

    settling.publish(end(Store(1), part("a")).messages[0])
    stores.broken = {"publish"}

    with pytest.raises(StorageError):
        settling.flush(stores)

    assert store.calls == ["begin 7"]


def test_parts_of_a_lost_generation_are_void() -> None:
    settling, _ = settling_with(Store(1))
    count(settling, part("a"))

    settling.void()

    assert not settling


def test_many_parts_are_counted_in_one_trip_and_a_second_completion_sends_nothing() -> None:
    store = Store(2)
    settling, stores = settling_with(store)
    for task_id in ("a", "b", "b"):
        count(settling, part(task_id))

    settling.flush(stores)

    assert store.calls == ["count", "values", "finish"]
    assert stores.calls == ["publish"]


def test_a_chord_in_a_chord_that_fails_fails_both_in_one_flush() -> None:
    outer = {"chord": {**BODY, "options": {"task_id": "all"}}, "group_id": "outer", "group_index": 0}
    store = Store(1)
    settling, stores = settling_with(store)
    count(settling, part("a", LookupError(), {**BODY, "options": {"task_id": "inner", **outer}}))
    store.kept.clear()

    settling.flush(stores)

    assert stores.stored[:1] == ["inner"]
    assert store.calls.count("count") == 2
