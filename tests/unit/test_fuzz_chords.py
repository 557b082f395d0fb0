"""Whatever a message says of what follows it, it is read or refused, and no worker ends by it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskd.base.errors import ProtocolError
from taskd.consumer.settling.chords import Chords
from taskd.protocol.chord import ChordPart
from taskd.results.memory import MemoryResults
from taskd.sending.signature import promised, read_embed
from tests import fuzzing
from tests.unit.fake_chords import Store, part

_LIES = st.sampled_from(fuzzing.LIES)
_IDS = st.sampled_from(["a", "b", "c", "d", "", None, 7])
_PLAIN = st.fixed_dictionaries(
    {"task": st.sampled_from(["a", "b"])}, optional={"options": st.fixed_dictionaries({"task_id": _IDS})}
)


def _mostly(right: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.integers(0, 15).flatmap(lambda drawn: _LIES if drawn == 0 else right)


def _signature(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """A signature of any type, with others where others belong, and now and then a lie."""
    tasks = _mostly(st.lists(inner, max_size=3))
    options = st.fixed_dictionaries(
        {},
        optional={
            "task_id": _IDS,
            "group_id": _IDS,
            "group_index": st.integers(0, 3) | _LIES,
            "chord": inner,
            "chain": tasks,
            "link": tasks,
            "link_error": tasks,
            "countdown": _mostly(st.just(1)),
        },
    )
    kwargs = st.fixed_dictionaries({"tasks": tasks, "header": tasks | inner, "body": inner})
    return st.fixed_dictionaries(
        {
            "task": _mostly(st.just("celery.any")),
            "kwargs": _mostly(kwargs),
            "subtask_type": st.sampled_from(["group", "chain", "chord", "chord", None, "xmap"]),
        },
        optional={"options": _mostly(options), "immutable": st.booleans(), "begins": _LIES},
    )


signatures = st.recursive(_mostly(_PLAIN), _signature, max_leaves=12)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@settings(max_examples=fuzzing.times(300))
@given(st.fixed_dictionaries(dict.fromkeys(("callbacks", "errbacks", "chain", "chord"), signatures)))
def test_what_follows_a_task_is_read_or_refused(embed: Mapping[str, object]) -> None:
    for chords in (True, False):
        try:
            found = read_embed(embed, chords=chords)
        except ProtocolError:
            continue
        assert all(single.subtask_type in (None, "") for single in found.step)


@settings(max_examples=fuzzing.times(300))
@given(signatures)
def test_what_a_chain_promises_is_found_or_refused(chain: object) -> None:
    try:
        found = promised(chain)
    except ProtocolError:
        return
    assert all(isinstance(each, str) and each for each in found.ids)


@settings(max_examples=fuzzing.times(300))
@given(signatures, st.booleans(), st.sampled_from([None, b"[]", b'{"result":[1,[[["a",null],null]]]}']))
def test_any_body_of_a_chord_is_sent_or_fails(body: object, failed: bool, tree: bytes | None) -> None:
    store = Store(1)
    store.saved = tree
    returned = part("a", LookupError("x") if failed else 1)
    text = json.dumps(body).encode("utf-8", "surrogatepass")
    returned = type(returned)(
        ChordPart("group", 0, "a", text), returned.record, returned.headers, returned.queue
    )

    chords = Chords(store, MemoryResults("memory://f"))
    chords.count([returned])

    counted = chords.end(returned)
    refused = Chords(None, MemoryResults("memory://f")).end(returned)

    assert counted is not None
    assert counted.failed or not failed
    assert refused is not None
    assert refused.failed
