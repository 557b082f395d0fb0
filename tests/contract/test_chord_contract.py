"""What counts the parts of chords promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from redis import Redis

from taskd.config.stores import RedisConfig
from taskd.protocol.chord import Begun, ChordPart
from taskd.results.base import ChordStore, Counted
from taskd.results.redis_chords import RedisChords
from tests import services

#: One line for each store that joins.
OPENERS: Mapping[str, Callable[[Path], ChordStore]] = {
    "redis": lambda directory: RedisChords(
        services.redis_url(), RedisConfig(key_prefix=f"{directory}:"), 60.0
    ),
}


@pytest.fixture(params=sorted(OPENERS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChordStore]:
    opened = OPENERS[request.param](tmp_path)
    yield opened
    opened.close()


def count(store: ChordStore, task_id: str, index: int | None = 0, token: str = "mine") -> Counted:
    part = ChordPart("group", index, task_id, b"{}")
    (counted,) = store.count([(part, f'[1,"{task_id}","SUCCESS",1]'.encode())], token)
    return counted


def test_the_last_part_completes_a_chord_and_all_are_found_in_order(store: ChordStore) -> None:
    store.begin(Begun("group", 3))

    assert [count(store, "c", 2), count(store, "a", 0), count(store, "b", 1)] == [
        Counted.WAITS,
        Counted.WAITS,
        Counted.COMPLETE,
    ]
    assert [value[4:5] for value in store.values("group")] == [b"a", b"b", b"c"]
    assert store.tree("group") is None


def test_a_part_that_returns_twice_counts_once(store: ChordStore) -> None:
    store.begin(Begun("group", 2))

    assert [count(store, "a"), count(store, "a"), count(store, "b")] == [
        Counted.WAITS,
        Counted.WAITS,
        Counted.COMPLETE,
    ]


def test_parts_that_return_before_the_size_is_known_count(store: ChordStore) -> None:
    assert count(store, "a", None) is Counted.WAITS
    store.begin(Begun("group", 2))

    assert count(store, "b", None) is Counted.COMPLETE


def test_one_alone_may_send_the_body_and_may_ask_again(store: ChordStore) -> None:
    store.begin(Begun("group", 1))

    assert count(store, "a", token="first") is Counted.COMPLETE
    assert count(store, "a", token="second") is Counted.CLAIMED
    assert count(store, "a", token="first") is Counted.COMPLETE


def test_a_body_that_was_sent_is_not_sent_again(store: ChordStore) -> None:
    store.begin(Begun("group", 1))
    count(store, "a")

    store.finish("group", "somebody else's")
    assert count(store, "a") is Counted.COMPLETE
    store.finish("group", "mine")

    assert count(store, "a") is Counted.SENT
    assert list(store.values("group")) == []


def test_the_same_chord_may_be_begun_again(store: ChordStore) -> None:
    store.begin(Begun("group", 1))
    count(store, "a")
    store.finish("group", "mine")

    store.begin(Begun("group", 1))

    assert count(store, "a") is Counted.COMPLETE


def test_a_failed_chord_is_never_complete_again(store: ChordStore) -> None:
    store.begin(Begun("group", 1))
    count(store, "a")

    store.fail("group")

    assert count(store, "a") is Counted.WAITS


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[tuple[Redis, str]]:
    with Redis.from_url(services.redis_url()) as client:
        yield client, f"{tmp_path}:celery-taskset-meta-group"


def test_celerys_added_parts_and_unordered_headers_are_counted(
    tmp_path: Path, keys: tuple[Redis, str]
) -> None:
    store = OPENERS["redis"](tmp_path)
    client, key = keys
    store.begin(Begun("group", 1))
    client.incr(f"{key}.t", 2)
    client.rpush(f"{key}.j", b'[1,"z","SUCCESS",1]')

    assert [count(store, "y"), count(store, "a")] == [Counted.WAITS, Counted.COMPLETE]
    assert [value[4:5] for value in store.values("group")] == [b"z", b"y", b"a"]
    store.close()


def test_what_is_left_of_a_chord_expires(tmp_path: Path, keys: tuple[Redis, str]) -> None:
    store = OPENERS["redis"](tmp_path)
    client, key = keys
    store.begin(Begun("group", 2))
    count(store, "a")

    left = client.keys(f"{key}*")

    assert len(left) == 3
    assert all(0 < client.ttl(each) <= 60 for each in left)
    store.close()
