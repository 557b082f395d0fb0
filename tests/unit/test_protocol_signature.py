"""Signatures as Celery writes them."""

from __future__ import annotations

import pytest

from taskd.errors import ProtocolError
from taskd.protocol.signature import read_embed, read_signatures

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


def test_a_signature_of_celery_is_read():
    (signature,) = read_signatures([CELERYS], "callbacks")

    assert (signature.task, signature.args, signature.immutable) == ("shop.add", [2], False)
    assert (signature.options.queue, signature.options.countdown) == ("mail", 3)


def test_a_single_one_needs_no_list_and_none_is_none():
    assert len(read_signatures(CELERYS, "callbacks")) == 1
    assert list(read_signatures(None, "callbacks")) == []
    assert read_embed({"callbacks": None, "errbacks": [CELERYS]})[0] == []


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([{"args": []}], "task"),
        (["shop.add"], "not a signature"),
        (7, "not a signature"),
        ([{**CELERYS, "args": {}}], "args"),
        ([{**CELERYS, "options": {"countdown": "soon"}}], "countdown"),
        ([{**CELERYS, "task": "celery.chain", "subtask_type": "chain"}], "is or carries a chain"),
        ([{**CELERYS, "options": {"chain": [CELERYS]}}], "is or carries a chain"),
        ([{**CELERYS, "options": {"chord": CELERYS}}], "is or carries a chord"),
        (
            [{**CELERYS, "options": {"link": [{**CELERYS, "subtask_type": "group"}]}}],
            "link of callbacks.*group",
        ),
        ([{**CELERYS, "options": {"link_error": {"task": 3}}}], "link_error of callbacks"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_name(value, named):
    with pytest.raises(ProtocolError, match=named):
        read_signatures(value, "callbacks")


def test_a_chain_in_a_message_is_refused():
    with pytest.raises(ProtocolError, match=r"carries a chain and a chord; .* not supported"):
        read_embed({"chain": [CELERYS], "chord": CELERYS})


def test_a_signature_with_many_links_below_one_another_is_read():
    signature = dict(CELERYS)
    for _ in range(300):
        signature = {**CELERYS, "options": {"link": [signature]}}

    assert len(read_signatures([signature], "callbacks")) == 1
