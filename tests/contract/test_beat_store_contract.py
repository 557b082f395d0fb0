"""What every store of beat promises to beats and to operators."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from taskd.base.errors import LeaseLostError
from taskd.beat.entries import Pause
from taskd.beat.stores.base import BeatStore, Decision, Declared, Mark, RunOutcome
from taskd.beat.stores.redis import RedisStore
from taskd.beat.stores.sqlite import SqliteStore
from taskd.brokers.timing import Timing
from taskd.config.schedule import BeatEntryConfig
from taskd.config.stores import RedisConfig, SqliteConfig
from tests import services
from tests.contract.brokers import Clock

HISTORY = 5
LEASE_S = 10.0


def _sqlite(directory: Path, timing: Timing, listens: bool) -> BeatStore:
    return SqliteStore(f"sqlite://{directory}/beat.db", SqliteConfig(), HISTORY, timing, listens=listens)


def _redis(directory: Path, timing: Timing, listens: bool) -> BeatStore:
    config = RedisConfig(key_prefix=f"{directory}:")
    return RedisStore(services.redis_url(), config, HISTORY, timing, listens=listens)


#: One line for each store that joins.
OPENERS: Mapping[str, Callable[[Path, Timing, bool], BeatStore]] = {"redis": _redis, "sqlite": _sqlite}

Open = Callable[..., BeatStore]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=sorted(OPENERS))
def open_(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Open]:
    stores: list[BeatStore] = []

    def opened(*, listens: bool = True) -> BeatStore:
        stores.append(store := OPENERS[request.param](tmp_path, clock.timing, listens))
        return store

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(open_: Open) -> BeatStore:
    return open_()


def entry(name: str = "job", **options: Any) -> BeatEntryConfig:
    return BeatEntryConfig(name=name, task="t", every=60.0, **options)


def mark(name: str = "job", decided_at: float = 100.0, **more: Any) -> Mark:
    return Mark(name, "schedule", decided_at, **more)


def decision(number: int, name: str = "job") -> Decision:
    return Decision(name, number, 10.0 * number, 10.0 * number + 1, RunOutcome.SENT, "why", f"id {number}")


def is_awake(store: BeatStore, within_s: float = 0.0) -> bool:
    poller = select.poll()
    poller.register(store.fileno(), select.POLLIN)
    return bool(poller.poll(within_s * 1000))


# -- entries ---------------------------------------------------------------------------------


def test_a_new_store_knows_nothing(store: BeatStore) -> None:
    changes = store.changes(0)

    assert (changes.entries, changes.pauses, list(changes.requests)) == ({}, {}, [])
    assert list(store.marks()) == []
    assert list(store.history(None, 10)) == []
    assert store.declared() == Declared()


def test_an_entry_is_kept_as_it_was_put_and_replaced_by_its_name(store: BeatStore) -> None:
    given = entry(args=(1, ["a"]), kwargs={"deep": {"x": None}}, jitter=0.5, overlap="queue")
    store.put(entry(), "alice")
    store.put(given, "bob")

    assert store.changes(0).entries == {"job": given}


def test_only_what_changed_is_read_again(store: BeatStore) -> None:
    store.put(entry("a"), "alice")
    revision = store.changes(0).revision
    store.put(entry("b"), "alice")

    changes = store.changes(revision)

    assert list(changes.entries) == ["b"]
    assert store.revision() == changes.revision > revision
    assert store.changes(changes.revision).entries == {}


def test_a_removal_is_told_once_and_is_one(store: BeatStore) -> None:
    store.put(entry(), "alice")
    revision = store.changes(0).revision

    assert store.remove("job", "alice")
    assert not store.remove("job", "alice")
    assert not store.remove("other", "alice")

    assert store.changes(revision).entries == {"job": None}


def test_a_pause_begins_and_ends(store: BeatStore) -> None:
    store.pause("job", "alice", 5.0)
    store.pause("job", "bob", 6.0)
    assert store.changes(0).pauses == {"job": Pause(5.0, None, "bob")}

    assert store.resume("job", "carol", 9.0)
    assert not store.resume("job", "carol", 10.0)

    assert store.changes(0).pauses == {"job": Pause(5.0, 9.0, "carol")}


def test_a_pause_after_another_begins_anew(store: BeatStore) -> None:
    store.pause("job", "alice", 5.0)
    store.resume("job", "alice", 9.0)
    store.pause("job", "alice", 20.0)

    assert store.changes(0).pauses == {"job": Pause(20.0, None, "alice")}


def test_requests_wait_until_they_are_done(store: BeatStore) -> None:
    first, second = store.request("a", "alice", 5.0), store.request("b", "bob", 6.0)
    term = store.lead(LEASE_S, succeed=True).term
    assert [request.name for request in store.changes(0).requests] == ["a", "b"]

    store.record(term, [], [], [first])

    (left,) = store.changes(store.revision()).requests
    assert (left.number, left.name, left.requested_at, left.by) == (second, "b", 6.0, "bob")


def test_what_the_app_declares_is_kept_for_operators(store: BeatStore, open_: Open) -> None:
    declared = Declared({"job": entry()}, frozenset({"t", "u"}), problems=["row x does not fire"])
    store.declare(Declared({"old": entry("old")}))
    store.declare(declared)

    assert open_(listens=False).declared() == declared


def test_every_change_wakes_the_beats(store: BeatStore, open_: Open) -> None:
    operator = open_(listens=False)
    for change in (
        lambda: operator.put(entry(), "alice"),
        lambda: operator.pause("job", "alice", 1.0),
        lambda: operator.resume("job", "alice", 2.0),
        lambda: operator.request("job", "alice", 3.0),
        lambda: operator.remove("job", "alice"),
    ):
        store.clear_wakeups()
        assert not is_awake(store)
        change()
        assert is_awake(store, within_s=60.0)


# -- the lease -------------------------------------------------------------------------------


def test_one_beat_leads_and_the_others_learn_until_when(store: BeatStore, open_: Open, clock: Clock) -> None:
    other = open_()
    mine = store.lead(LEASE_S, succeed=True)
    clock.advance(LEASE_S / 2)

    answer = other.lead(LEASE_S, succeed=True)

    assert mine.is_mine
    assert not answer.is_mine
    assert (answer.term, answer.until) == (mine.term, mine.until)


def test_a_leader_keeps_its_term_when_it_leads_on_or_comes_back(store: BeatStore, clock: Clock) -> None:
    term = store.lead(LEASE_S, succeed=False).term
    clock.advance(LEASE_S / 2)
    assert store.lead(LEASE_S, succeed=False).term == term
    clock.advance(LEASE_S * 100)

    assert store.lead(LEASE_S, succeed=False).term == term


def test_a_living_leader_is_succeeded_when_its_lease_is_over_and_another_wants_to(
    store: BeatStore, open_: Open, clock: Clock
) -> None:
    other = open_()
    term = store.lead(LEASE_S, succeed=True).term
    clock.advance(LEASE_S + 1)
    assert not other.lead(LEASE_S, succeed=False).is_mine

    successor = other.lead(LEASE_S, succeed=True)

    assert successor.is_mine
    assert successor.term > term
    assert not store.lead(LEASE_S, succeed=False).is_mine


def test_a_dead_leader_is_succeeded_at_once(store: BeatStore, open_: Open) -> None:
    dying = open_()
    term = dying.lead(LEASE_S, succeed=True).term
    dying.close()

    answer = store.lead(LEASE_S, succeed=False)

    assert answer.is_mine
    assert answer.term > term


def test_a_leader_of_before_a_reboot_is_succeeded_at_once(
    store: BeatStore, open_: Open, clock: Clock
) -> None:
    if isinstance(store, RedisStore):
        pytest.skip("another boot is another host, as far as it can know: its lease must end")
    store.lead(LEASE_S, succeed=True)
    clock.boot_id = "the next boot"
    clock.monotonic_s = 1.0

    assert open_().lead(LEASE_S, succeed=False).is_mine


def test_a_leader_on_another_host_is_not_succeeded_for_its_silence(open_: Open, clock: Clock) -> None:
    far = open_()
    if not isinstance(far, RedisStore):
        pytest.skip("this store is for one host")
    clock.boot_id = "of the other host"
    far.lead(LEASE_S, succeed=True)
    far.close()
    clock.boot_id = "of this host"
    near = open_()

    assert not near.lead(LEASE_S, succeed=True).is_mine
    clock.advance(LEASE_S + 1)
    assert near.lead(LEASE_S, succeed=True).is_mine


def test_a_leader_that_resigns_wakes_the_others_and_leaves_the_lease(store: BeatStore, open_: Open) -> None:
    other = open_()
    store.lead(LEASE_S, succeed=True)
    other.lead(LEASE_S, succeed=True)
    other.resign()  # which is not the leader: nothing happens
    assert not other.lead(LEASE_S, succeed=True).is_mine
    other.clear_wakeups()

    store.resign()

    assert is_awake(other, within_s=60.0)
    assert other.lead(LEASE_S, succeed=False).is_mine


# -- marks and decisions ---------------------------------------------------------------------


def test_marks_are_kept_and_replaced_by_name(store: BeatStore, open_: Open) -> None:
    term = store.lead(LEASE_S, succeed=True).term
    store.record(term, [mark("a"), mark("b")], [])
    full = mark("a", 200.0, task_id="x", fired=3, skipped=2, failed=1, decisions=6, last_due_at=190.0)

    store.record(term, [full], [])

    other = open_()
    assert {each.name: each for each in other.marks()} == {"a": full, "b": mark("b")}
    assert list(other.marks(["a", "unknown"])) == [full]


def test_decisions_are_kept_the_latest_first_and_only_so_many_of_each_entry(store: BeatStore) -> None:
    term = store.lead(LEASE_S, succeed=True).term
    store.record(term, [], [decision(1, "rare")])
    for number in range(1, 13):
        store.record(term, [], [decision(number)])

    assert [each.number for each in store.history("job", 100)] == [12, 11, 10, 9, 8]
    (rare,) = store.history("rare", 100)
    assert (rare.name, rare.due_at, rare.late_s, rare.outcome) == ("rare", 10.0, 1.0, RunOutcome.SENT)
    assert (rare.reason, rare.task_id, rare.count, rare.exact) == ("why", "id 1", 1, True)
    assert rare.term == term
    assert len(store.history(None, 3)) == 3
    assert store.history(None, 1)[0].number == 12


def test_what_a_former_leader_records_is_refused_whole(store: BeatStore, open_: Open, clock: Clock) -> None:
    number = store.request("job", "alice", 1.0)
    former = store.lead(LEASE_S, succeed=True).term
    clock.advance(LEASE_S + 1)
    open_().lead(LEASE_S, succeed=True)

    with pytest.raises(LeaseLostError):
        store.record(former, [mark()], [decision(1)], [number])

    assert list(store.marks()) == []
    assert list(store.history(None, 10)) == []
    assert len(store.changes(0).requests) == 1


def test_a_closed_store_may_be_closed_again(store: BeatStore) -> None:
    store.close()
    store.close()
