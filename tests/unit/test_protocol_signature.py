"""Signatures as Celery writes them."""

from __future__ import annotations

import pytest

from taskd.errors import ProtocolError
from taskd.protocol.signature import promised_ids, read_embed, read_signatures

#: What Celery 5.5 writes for ``add.s(2).set(queue="mail", countdown=3)``.
CELERYS = {
    "task": "shop.add",
    "args": [2],
    "kwargs": {},
    "options": {"queue": "mail", "countdown": 3, "task_id": None, "reply_to": "abc"},
    "subtask_type": None,
    "immutable": False,
    "chord_size": None,
}


def group_of(size):
    return {**CELERYS, "task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [CELERYS] * size}}


def chain_of(*tasks):
    return {**CELERYS, "task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": list(tasks)}}


def test_a_signature_of_celery_is_read():
    (signature,) = read_signatures([CELERYS], "callbacks")

    assert (signature.task, signature.args, signature.immutable) == ("shop.add", [2], False)
    assert (signature.options.queue, signature.options.countdown) == ("mail", 3)


def test_a_single_one_needs_no_list_and_none_is_none():
    assert len(read_signatures(CELERYS, "callbacks")) == 1
    assert list(read_signatures(None, "callbacks")) == []
    assert read_embed({"callbacks": None, "errbacks": [CELERYS]}).callbacks == []


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([{"args": []}], "task"),
        (["shop.add"], "not a signature"),
        (7, "not a signature"),
        ([{**CELERYS, "args": {}}], "args"),
        ([{**CELERYS, "options": {"countdown": "soon"}}], "countdown"),
        ([{**CELERYS, "options": {"chord": CELERYS}}], "belongs to a chord"),
        (
            [{**CELERYS, "options": {"link": [{**CELERYS, "subtask_type": "chord"}]}}],
            "link of callbacks.*chord",
        ),
        ([{**CELERYS, "options": {"chain": [CELERYS, group_of(2)]}}], "chain of callbacks.*is a chord"),
        ([chain_of(group_of(2), CELERYS)], "chain in callbacks.*is a chord"),
        ([chain_of(7)], "not a signature"),
        ([{**CELERYS, "options": {"link_error": {"task": 3}}}], "link_error of callbacks"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_name(value, named):
    with pytest.raises(ProtocolError, match=named):
        read_signatures(value, "callbacks")


def test_a_chord_in_a_message_is_refused():
    with pytest.raises(ProtocolError, match=r"belongs to a chord.* not supported"):
        read_embed({"chord": CELERYS})


def test_the_next_step_of_a_chain_stands_last_and_carries_the_others():
    first, second, third = ({**CELERYS, "task": name} for name in ("a", "b", "c"))

    (step,) = read_embed({"chain": [third, second, first]}).step

    assert step.task == "a"
    assert step.options.chain == [third, second]


def test_a_chain_that_is_linked_is_its_first_task_with_the_others_behind_it():
    first, second, third = ({**CELERYS, "task": name} for name in ("a", "b", "c"))

    (step,) = read_signatures(chain_of(first, second, third), "callbacks")

    assert (step.task, step.options.chain) == ("a", [third, second])


def test_a_group_at_the_end_of_a_chain_is_its_members():
    assert len(read_embed({"chain": [group_of(3)]}).step) == 3


def test_what_follows_a_chain_within_a_chain_comes_after_it():
    inner = {**CELERYS, "task": "a", "options": {"chain": [{**CELERYS, "task": "b"}]}}

    (step,) = read_embed({"chain": [{**CELERYS, "task": "c"}, inner]}).step

    assert [each["task"] for each in step.options.chain] == ["c", "b"]


def test_stamps_are_taken_from_the_options():
    options = {"stamped_headers": ["tenant", "gone"], "tenant": "acme"}

    (signature,) = read_signatures({**CELERYS, "options": options}, "callbacks")

    assert signature.stamps == {"tenant": "acme"}


def test_the_ids_that_a_chain_and_a_chord_promise_are_found():
    def with_id(task_id, **more):
        return {**CELERYS, "options": {"task_id": task_id}, **more}

    group = with_id("group", subtask_type="group", kwargs={"tasks": [with_id("m1"), with_id("m2")]})
    embed = {"chain": [group, with_id("next")], "chord": with_id("body"), "callbacks": [with_id("not")]}

    assert sorted(promised_ids(embed)) == ["body", "m1", "m2", "next"]


@pytest.mark.parametrize("garbage", [7, "text", [7], [{"options": 7}], {"kwargs": {"tasks": 3}}])
def test_garbage_in_the_place_of_a_chain_promises_nothing(garbage):
    assert promised_ids({"chain": garbage, "chord": garbage}) == []


def test_signatures_within_one_another_beyond_all_measure_are_refused():
    group = CELERYS
    for _ in range(5000):
        group = {**CELERYS, "subtask_type": "group", "kwargs": {"tasks": [group]}}

    with pytest.raises(ProtocolError):
        read_embed({"chain": [group]})


def test_a_signature_with_many_links_below_one_another_is_read():
    signature = dict(CELERYS)
    for _ in range(300):
        signature = {**CELERYS, "options": {"link": [signature]}}

    assert len(read_signatures([signature], "callbacks")) == 1
