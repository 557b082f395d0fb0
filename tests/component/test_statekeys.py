"""What is revoked, in the keys beside the broker's on Redis."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing

import pytest
from redis import Redis

from taskd.base import clock
from taskd.config.stores import RedisConfig, Stores
from taskd.revocations.known import KEEP_S, MAX_IDS, By, Revocations
from taskd.revocations.redis import StateKeys
from taskd.revocations.store import Forgiving, RevocationStore, state_of
from tests import services


@pytest.fixture
def url() -> str:
    return services.redis_database()


@pytest.fixture
def state(url: str) -> Iterator[RevocationStore]:
    made = state_of(url, Stores())
    assert isinstance(made, StateKeys)
    with closing(made):
        yield made


def known(state: RevocationStore, kind: By = By.ID) -> list[str]:
    into = Revocations()
    state.load(into)
    return list(into[kind].ids(clock.monotonic()))


def test_what_one_worker_is_told_another_knows(state: RevocationStore, url: str) -> None:
    state.add(By.ID, ["a", "b", "\ud800"])
    state.add(By.NAME, ["shop.add"])
    state.discard(By.ID, ["b", "unknown"])

    with closing(StateKeys(url, RedisConfig())) as other:
        assert sorted(known(other)) == ["a", "\ud800"]
        assert known(other, By.NAME) == ["shop.add"]
        assert known(other, By.STAMP) == []


def test_its_age_counts_from_the_revocation(state: RevocationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    state.add(By.ID, ["old"])
    later, now = clock.now() + KEEP_S - 5.0, clock.monotonic()
    monkeypatch.setattr(clock, "now", lambda: later)
    into = Revocations()
    state.load(into)

    assert list(into[By.ID].ids(now)) == ["old"]
    assert list(into[By.ID].ids(now + 10.0)) == []
    monkeypatch.setattr(clock, "now", lambda: later + 10.0)
    assert known(state) == []


def test_no_more_are_kept_than_a_worker_remembers(state: RevocationStore, url: str) -> None:
    state.add(By.ID, map(str, range(MAX_IDS)))
    state.add(By.ID, ["one more"])

    with closing(Redis.from_url(url)) as client:
        assert client.zcard("taskd:revoked:id") == MAX_IDS
    assert "one more" in known(state)


def test_a_server_that_is_away_costs_the_memory_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    away = Forgiving(StateKeys("redis://127.0.0.1:1/0", RedisConfig()))
    with closing(away) as state, caplog.at_level(logging.ERROR):
        state.add(By.ID, ["a"])
        state.discard(By.ID, ["a"])

        assert known(state) == []
    assert "cannot be kept over restarts" in caplog.text
