"""The records of kinds: each names what there is, and says what the thing itself can do."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from taskd.config.built_in import BEAT_STORES, BROKERS, POOLS, RESULTS
from taskd.config.choosing import pool_kind, result_kind
from taskd.config.kinds import BrokerKind, KindError, PoolKind, StoreCan, StoreKind
from taskd.config.stores import Stores
from taskd.results import factory as results
from taskd.results.base import Portable

_BROKERS = list(dict.fromkeys(BROKERS.values()))
_RESULTS = list(dict.fromkeys(RESULTS.values()))
_ALL = [*_BROKERS, *_RESULTS, *dict.fromkeys(BEAT_STORES.values()), *POOLS.values()]


def paths_of(kind: BrokerKind | StoreKind | PoolKind) -> list[str]:
    """Return all that a record names."""
    found = [kind.opener]
    if isinstance(kind, BrokerKind):
        found += [kind.revocations, kind.client]
    if isinstance(kind, StoreKind):
        found.append(kind.chords)
    return [path for path in found if path]


@pytest.mark.parametrize("kind", _ALL, ids=lambda kind: f"{type(kind).__name__}-{kind.name}")
def test_what_a_record_names_is_there(kind: BrokerKind | StoreKind | PoolKind) -> None:
    for path in paths_of(kind):
        module, _, function = path.partition(":")
        spec = find_spec(module)  # without an import: it needs libraries, or a process of its own
        assert spec is not None
        assert spec.origin is not None
        assert f"\ndef {function}(" in Path(spec.origin).read_text()


@pytest.mark.parametrize("kind", list(POOLS.values()), ids=lambda kind: kind.name)
def test_the_program_of_a_pool_is_there(kind: PoolKind) -> None:
    assert find_spec(kind.entry) is not None


@pytest.mark.parametrize("url", ["sqlite:///tmp/x.db", "memory://", "redis://h", "null://"])
def test_a_result_store_offers_what_its_record_says(url: str) -> None:
    store = results.connect(url, Stores())

    assert (StoreCan.GO_ALONG in result_kind(url).can) == isinstance(store, Portable)


def test_a_name_that_nothing_has_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(KindError, match=r'no pool is called "fork"; supported: prefork, threads'):
        pool_kind("fork")


def test_a_library_that_is_missing_is_named_with_the_remedy() -> None:
    kind = PoolKind(name="x", opener="no_such_library.x:open_pool", extras=("x[y]", "z"))

    with pytest.raises(KindError, match=r'no_such_library is not installed, which x needs: pip install "x\['):
        kind.load(kind.opener)


def test_a_name_in_a_record_that_leads_nowhere_is_told() -> None:
    kind = PoolKind(name="x", opener="taskd.base.named:nothing")

    with pytest.raises(KindError, match=r"x names taskd\.base\.named:nothing, which does not exist"):
        kind.load(kind.opener)
