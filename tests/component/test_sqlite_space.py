"""A file that a backlog has made large becomes small again, a little at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskd.base import clock as clocks
from taskd.base.errors import StorageFullError
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.sqlite.intake import SqliteIntake
from taskd.config.stores import SqliteConfig
from taskd.protocol.delivery import Ack, Outgoing
from taskd.results.base import StoredResult
from taskd.results.sqlite import SqliteResults
from taskd.storage.sqlite import space
from taskd.storage.sqlite.space import STEP_PAGES, TURN_STEPS, WINDOW_S, Pages, pages_of
from tests.contract.brokers import Clock

MESSAGES = 1000
TURN_S = 10.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(path: Path, clock: Clock) -> Iterator[SqliteBroker]:
    with closing(SqliteBroker(f"sqlite://{path}", SqliteConfig(), clock.timing)) as opened:
        yield opened


def large(number: int) -> Outgoing:
    return Outgoing(routing_key="mail", headers=b"{}", body=b"x" * 20_000, task_id=str(number))


def pages(path: Path) -> Pages:
    connection = sqlite3.connect(path)
    try:
        return pages_of(connection)
    finally:
        connection.close()


def drain(intake: SqliteIntake, count: int) -> None:
    for _ in range(count // 100):
        assert not intake.settle([Ack(each.tag) for each in intake.claim(100)])


def turns_until_it_is_small(intake: SqliteIntake, clock: Clock, path: Path) -> list[int]:
    """Let the worker keep house until nothing changes any more; return the pages given in each turn."""
    given: list[int] = []
    before = pages(path)
    windows = int(2 * WINDOW_S / TURN_S)
    while len(given) < windows or any(given[-windows:]):
        clock.advance(TURN_S)
        intake.renew()
        now = pages(path)
        given.append(before.used + before.free - now.used - now.free)
        before = now
    return given


@pytest.mark.parametrize("left", [0, 100])
def test_a_drained_backlog_leaves_a_file_below_twice_its_live_data(
    path: Path, broker: SqliteBroker, clock: Clock, left: int
) -> None:
    intake = broker.intake("w", ["mail"])
    broker.publisher().publish([large(number) for number in range(MESSAGES)])
    drain(intake, MESSAGES - left)
    full = pages(path)
    assert full.free > 5 * (MESSAGES - left) * 0.9

    given = turns_until_it_is_small(intake, clock, path)

    small = pages(path)
    assert small.used + small.free < 2 * small.used
    # Of pages that SQLite needs to know what is free, there are fewer now.
    assert 0 <= full.used - small.used < 50
    # A page of SQLite's map goes with every thousand or so.
    assert 0 < max(given) <= STEP_PAGES * TURN_STEPS * 1.01
    assert path.stat().st_size == (small.used + small.free) * 4096
    assert path.with_name("broker.db-wal").stat().st_size < 500_000
    assert [each.body for each in intake.claim(200)] == [b"x" * 20_000] * left
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_backlog_that_comes_again_and_again_keeps_its_place(
    path: Path, broker: SqliteBroker, clock: Clock
) -> None:
    intake = broker.intake("w", ["mail"])
    sizes = []
    for _ in range(4):
        broker.publisher().publish([large(number) for number in range(200)])
        intake.renew()
        drain(intake, 200)
        clock.advance(WINDOW_S * 0.7)
        intake.renew()
        sizes.append(sum(pages(path)[:2]))
    assert min(sizes) > 200 * 20_000 / 4096


def test_a_lease_is_renewed_although_space_cannot_be_given_back(
    broker: SqliteBroker, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise StorageFullError("no space left")

    monkeypatch.setattr(space, "give_back", full)
    intake = broker.intake("w", ["mail"])
    broker.publisher().publish([large(number) for number in range(100)])
    drain(intake, 100)
    intake.renew()

    with caplog.at_level("INFO"):
        clock.advance(WINDOW_S)
        intake.renew()

    assert "free pages are kept for now: no space left" in caplog.text
    assert not intake.claim(1)


def test_results_that_have_expired_leave_a_small_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(clocks, "monotonic", lambda: now)
    results = SqliteResults(f"sqlite://{path}", SqliteConfig())
    results.store([StoredResult(str(number), "SUCCESS", b"x" * 20_000, 1.0) for number in range(200)])
    assert results.expire(2.0) == 200
    assert pages(path).free > 900

    for _ in range(3):
        now += WINDOW_S
        results.expire(2.0)

    assert pages(path).free <= 16
    results.close()
