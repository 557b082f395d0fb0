"""Files that released versions have left are opened, used, and become what new ones are."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import pytest

from taskd.base import clock
from taskd.beat.stores.sqlite import SqliteStore
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.protocol.delivery import Ack
from taskd.results.base import StoredResult
from taskd.results.sqlite import SqliteResults
from taskd.revocations.known import By, Revocations
from taskd.revocations.sqlite import RevocationFile
from taskd.supervisor.deaths import register as deaths
from tests import released
from tests.contract.brokers import message


@pytest.fixture(params=released.releases())
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a directory with the files of one release."""
    return released.unpacked(request.param, tmp_path)


def shape(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        marks = connection.execute("SELECT room, version FROM taskd_schema ORDER BY room").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [(name, " ".join(sql.split())) for name, sql in rows] + marks
    finally:
        connection.close()


def assert_as_new(path: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    released.write(new / path.name)
    assert shape(path) == shape(new / path.name)


def newest_revocation(home: Path) -> float:
    connection = sqlite3.connect(home / "broker.db.revoked")
    try:
        return float(connection.execute("SELECT max(at) FROM revoked").fetchone()[0])
    finally:
        connection.close()


def test_a_broker_hands_out_what_waited_and_what_a_dead_worker_had(home: Path) -> None:
    broker = SqliteBroker(f"sqlite://{home}/broker.db", released.CONFIG)

    (letter,) = broker.desk().dead_letters()
    assert (letter.task_id, letter.task, letter.deaths) == (released.DEAD[0], "shop.send", 1)
    assert broker.desk().requeue_dead([letter.id]) == 1
    known = broker.once().publish_once(
        [released.task(each) for each in ("urgent", "new")], until=clock.monotonic() + 60.0
    )
    assert set(known) == {"urgent"}
    intake = broker.intake("w2", ["mail"])
    broker.publisher().publish([message(queue="order.big", exchange="orders")])
    claimed = intake.claim(20)
    expected = (*released.READY, *released.DELAYED, *released.CLAIMED, *released.DEAD, "new")
    assert {each.task_id for each in claimed} >= set(expected)
    assert len(claimed) == len(expected) + 1
    assert claimed[0].task_id == "urgent"
    assert not intake.settle([Ack(each.tag) for each in claimed])
    (queue,) = broker.desk().queues()
    assert (queue.ready, queue.delayed, queue.claimed, queue.dead) == (0, 0, 0, 0)
    broker.close()
    assert_as_new(home / "broker.db", home)


def test_results_are_read_changed_and_expire(home: Path) -> None:
    results = SqliteResults(f"sqlite://{home}/results.db", released.CONFIG)

    assert results.get(list(released.RESULTS)) == released.RESULTS
    results.store([StoredResult("failed", "SUCCESS", b"{}", 1.0)])
    assert results.expire(clock.now()) == 1
    assert list(results.get(list(released.RESULTS))) == ["done"]
    results.close()
    assert_as_new(home / "results.db", home)


def test_revocations_are_known_and_taken_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = RevocationFile(str(home / "broker.db.revoked"), released.CONFIG)
    known = Revocations()
    now_at = newest_revocation(home) + 60.0
    monkeypatch.setattr(clock, "now", lambda: now_at)

    state.load(known)
    assert all(what in known[kind] for kind, what in released.REVOKED.items())
    state.add(By.ID, ("another",))
    state.discard(By.ID, (released.REVOKED[By.ID],))
    again = Revocations()
    state.load(again)
    assert set(again[By.ID].ids(clock.monotonic())) == {"another"}
    state.close()
    assert_as_new(home / "broker.db.revoked", home)


def test_beat_goes_on_where_it_was(home: Path) -> None:
    store = SqliteStore(f"sqlite://{home}/beat.db", released.CONFIG, 10, released.timing(), listens=False)

    changes = store.changes(0)
    assert changes.entries["hourly"] is not None
    assert changes.pauses == {"hourly": released.PAUSE}
    assert [each.name for each in changes.requests] == ["hourly"]
    (mark,) = store.marks()
    assert (mark.name, mark.decided_at, mark.fired) == ("hourly", released.NOW_AT, 1)
    term = store.lead(10.0, succeed=True).term
    store.record(term, [mark], [], done=[each.number for each in changes.requests])
    assert store.resume("hourly", "ada", released.NOW_AT)
    (decision,) = store.history(None, 10)
    assert decision.task_id == "an-id"
    store.close()
    assert_as_new(home / "beat.db", home)


def test_the_register_of_deaths_is_read(home: Path) -> None:
    found = deaths.read(str(home / "deaths.json"))

    assert [each.program for each in found] == list(released.PROGRAMS)
    assert math.isclose(found[0].at, released.NOW_AT)


def test_every_durable_file_has_a_test() -> None:
    for release in released.releases():
        assert {each.stem for each in (released.STORES / release).iterdir()} == set(released.WRITERS)
