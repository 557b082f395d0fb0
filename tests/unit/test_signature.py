"""Signatures as Celery writes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from taskd.base.errors import ProtocolError
from taskd.sending.signature import Signature, carried, promised, read_embed, read_signatures

#: What Celery 5.5 writes for ``add.s(2).set(queue="mail", countdown=3)``.
CELERYS: dict[str, Any] = {
    "task": "shop.add",
    "args": [2],
    "kwargs": {},
    "options": {"queue": "mail", "countdown": 3, "task_id": None, "reply_to": "abc"},
    "subtask_type": None,
    "immutable": False,
    "chord_size": None,
}


def group_of(size: int) -> dict[str, Any]:
    return {**CELERYS, "task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [CELERYS] * size}}


def chain_of(*tasks: object) -> dict[str, Any]:
    return {**CELERYS, "task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": list(tasks)}}


def chord_of(*header: object) -> dict[str, Any]:
    parts = [CELERYS] * header[0] if isinstance(header[0], int) else list(header)
    kwargs = {"header": parts, "body": {**CELERYS, "task": "sum"}, "kwargs": {}}
    return {**CELERYS, "task": "celery.chord", "subtask_type": "chord", "kwargs": kwargs}


def test_a_signature_of_celery_is_read() -> None:
    (signature,) = read_signatures([CELERYS], "callbacks")

    assert (signature.task, signature.args, signature.immutable) == ("shop.add", [2], False)
    assert carried(signature.options) == {"queue": "mail", "countdown": 3}


def test_a_single_one_needs_no_list_and_none_is_none() -> None:
    assert len(read_signatures(CELERYS, "callbacks")) == 1
    assert list(read_signatures(None, "callbacks")) == []
    assert read_embed({"callbacks": None, "errbacks": [CELERYS]}).callbacks == []


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([{"args": []}], "task"),
        (["shop.add"], "not a signature"),
        (7, "not a signature"),
        ([{**CELERYS, "args": {"a": 1}}], "args"),
        ([{**CELERYS, "options": {"countdown": "soon"}}], "countdown"),
        (
            [{**CELERYS, "options": {"link": [{**CELERYS, "subtask_type": "chord"}]}}],
            "link of callbacks.*a chord has a header",
        ),
        ([chord_of(group_of(0))], "nothing but empty groups"),
        ([chord_of(chain_of(group_of(0)))], "a group in a chord is empty"),
        *(
            ([chord_of({**chain_of(CELERYS), "kwargs": lie})], "kwargs of a part of a chord is")
            for lie in ("text", 7, [1])
        ),
        ([{**CELERYS, "subtask_type": "xmap"}], "is a xmap"),
        ("\ud800", "not a signature"),
        ([chain_of(7)], "not a signature"),
        ([{**CELERYS, "options": {"link_error": {"task": 3}}}], "link_error of callbacks"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_name(value: object, named: str) -> None:
    with pytest.raises(ProtocolError, match=named):
        read_signatures(value, "callbacks")


def test_a_chord_is_refused_where_nobody_counts() -> None:
    with pytest.raises(ProtocolError, match=r"belongs to a chord.* redis://"):
        read_embed({"chord": CELERYS}, chords=False)
    for embed in ({"chain": [CELERYS, group_of(2)]}, {"callbacks": [chord_of(2)]}):
        with pytest.raises(ProtocolError, match=r"a chord follows.* redis://"):
            read_embed(embed, chords=False)
    with pytest.raises(ProtocolError, match="expected a signature"):
        read_embed({"chord": 7})


def chord_after(signature: Signature) -> Any:
    """Return the body of the chord to which a signature belongs, as it goes over the wire."""
    assert signature.options.chord is not None
    return signature.options.chord


def chain_after(signature: Signature) -> list[Any]:
    """Return the rest of the chain to which a signature belongs."""
    assert signature.options.chain is not None
    return signature.options.chain


def test_a_chord_is_the_tasks_of_its_header_which_all_carry_the_body() -> None:
    found = read_signatures([chord_of(3)], "callbacks")

    (begun,) = found[0].begins
    assert (begun.size, [each.begins for each in found[1:]]) == (3, [[], []])
    assert [each.options.group_index for each in found] == [0, 1, 2]
    assert {each.options.group_id for each in found} == {begun.group}
    assert len({carried(each.options)["task_id"] for each in found}) == 3
    assert [chord_after(each)["task"] for each in found] == ["sum"] * 3
    assert chord_after(found[0])["options"]["task_id"]


def test_what_follows_a_chord_follows_its_body() -> None:
    after = {**CELERYS, "task": "after"}

    found = read_embed({"chain": [after, chord_of(2)]}).step

    assert [each.options.chain for each in found] == [None, None]
    assert [chord_after(each)["options"]["chain"] for each in found] == [[after], [after]]


def test_a_group_with_a_step_behind_it_is_a_chord() -> None:
    after, last = {**CELERYS, "task": "after"}, {**CELERYS, "task": "last"}

    for found in (
        read_embed({"chain": [last, after, group_of(2)]}).step,
        read_signatures(chain_of(group_of(2), after, last), "callbacks"),
    ):
        assert [chord_after(each)["task"] for each in found] == ["after", "after"]
        assert chord_after(found[0])["options"]["chain"] == [last]


def test_chains_and_chords_in_a_header_count_by_their_end() -> None:
    (first,) = read_signatures([chord_of(chain_of(CELERYS, {**CELERYS, "task": "end"}))], "callbacks")
    inner = read_signatures([chord_of(chord_of(2), CELERYS)], "callbacks")

    assert (first.begins[0].size, first.options.chord) == (1, None)
    assert chain_after(first)[0]["options"]["chord"]["task"] == "sum"
    assert [begun.size for begun in inner[0].begins] == [2, 2]
    assert [chord_after(each)["options"].get("group_index") for each in inner] == [0, 0, None]


def test_a_signature_cannot_claim_to_begin_a_chord() -> None:
    (signature,) = read_signatures([{**CELERYS, "begins": [["group", 1]]}], "callbacks")

    assert signature.begins == []


def test_the_next_step_of_a_chain_stands_last_and_carries_the_others() -> None:
    first, second, third = ({**CELERYS, "task": name} for name in ("a", "b", "c"))

    (step,) = read_embed({"chain": [third, second, first]}).step

    assert step.task == "a"
    assert step.options.chain == [third, second]


def test_a_chain_that_is_linked_is_its_first_task_with_the_others_behind_it() -> None:
    first, second, third = ({**CELERYS, "task": name} for name in ("a", "b", "c"))

    (step,) = read_signatures(chain_of(first, second, third), "callbacks")

    assert (step.task, step.options.chain) == ("a", [third, second])


def test_a_group_at_the_end_of_a_chain_is_its_members() -> None:
    assert len(read_embed({"chain": [group_of(3)]}).step) == 3


def test_what_follows_a_chain_within_a_chain_comes_after_it() -> None:
    inner = {**CELERYS, "task": "a", "options": {"chain": [{**CELERYS, "task": "b"}]}}

    (step,) = read_embed({"chain": [{**CELERYS, "task": "c"}, inner]}).step

    assert [each["task"] for each in chain_after(step)] == ["c", "b"]


def test_stamps_are_taken_from_the_options() -> None:
    options = {"stamped_headers": ["tenant", "gone"], "tenant": "acme"}

    (signature,) = read_signatures({**CELERYS, "options": options}, "callbacks")

    assert signature.stamps == {"tenant": "acme"}


def test_the_ids_that_a_chain_and_a_chord_promise_are_found() -> None:
    def with_id(task_id: str, **more: object) -> dict[str, Any]:
        return {**CELERYS, "options": {"task_id": task_id}, **more}

    group = with_id("group", subtask_type="group", kwargs={"tasks": [with_id("m1"), with_id("m2")]})
    chord = with_id("c", subtask_type="chord", kwargs={"header": [with_id("h")], "body": with_id("body")})

    assert sorted(promised([group, with_id("next"), chord]).ids) == ["body", "h", "m1", "m2", "next"]


def test_the_parts_that_a_chain_promises_are_found() -> None:
    place = {"chord": {"task": "sum"}, "group_id": "g"}
    last = {**CELERYS, "options": {"task_id": "last", "group_index": 2, **place}}
    body = {**CELERYS, "options": {"task_id": "inner", **place}}
    header = {**CELERYS, "options": {"task_id": "part of the inner chord only", **place}}
    chord = {**CELERYS, "subtask_type": "chord", "kwargs": {"header": [header], "body": body}, "options": {}}

    found = promised([last, chord]).parts

    assert sorted((part.task_id, part.group, part.index) for part in found) == [
        ("inner", "g", None),
        ("last", "g", 2),
    ]
    assert {part.body for part in found} == {b'{"task":"sum"}'}


@pytest.mark.parametrize("garbage", [7, "text", [7], [{"options": 7}], {"kwargs": {"tasks": 3}}])
def test_garbage_in_the_place_of_a_chain_promises_nothing(garbage: object) -> None:
    assert promised(garbage).ids == []


def test_signatures_within_one_another_beyond_all_measure_are_refused() -> None:
    group = CELERYS
    for _ in range(5000):
        group = {**CELERYS, "subtask_type": "group", "kwargs": {"tasks": [group, CELERYS]}}

    with pytest.raises(ProtocolError):
        read_embed({"chain": [group]})


def test_a_signature_with_many_links_below_one_another_is_read() -> None:
    signature = dict(CELERYS)
    for _ in range(300):
        signature = {**CELERYS, "options": {"link": [signature]}}

    assert len(read_signatures([signature], "callbacks")) == 1


def test_a_signature_that_another_producer_wrote_its_own_way_is_read_by_what_it_means() -> None:
    options = {"task_id": 5, "group_id": 7, "countdown": "5", "expires": "2199-01-01", "ignore_result": 0}
    odd: dict[str, Any] = {"task": "a", "args": None, "kwargs": [], "options": options, "immutable": None}

    (read,) = read_signatures([odd], "callbacks")
    (bare,) = read_signatures({"task": "a", "options": []}, "callbacks")

    assert (read.args, read.kwargs, read.immutable) == ([], {}, False)
    expires = datetime(2199, 1, 1)  # noqa: DTZ001
    assert carried(read.options) == {
        "task_id": "5",
        "countdown": 5.0,
        "expires": expires,
        "ignore_result": False,
    }
    assert read.options.group_id == "7"
    assert carried(bare.options) == {}
