"""What is revoked, in the file beside the broker's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd.base import clock
from taskd.config.stores import SqliteConfig, Stores
from taskd.revocations.known import KEEP_S, MAX_IDS, By, Revocations
from taskd.revocations.sqlite import SUFFIX, RevocationFile
from taskd.revocations.store import Forgiving, state_of


@pytest.fixture
def state(tmp_path: Path) -> Iterator[RevocationFile]:
    made = state_of(f"sqlite://{tmp_path}/broker.db", Stores())
    assert isinstance(made, RevocationFile)
    yield made
    made.close()


def known(state: RevocationFile, kind: By = By.ID) -> list[str]:
    into = Revocations()
    state.load(into)
    return list(into[kind].ids(clock.monotonic()))


def test_without_a_revocation_there_is_no_file(state: RevocationFile, tmp_path: Path) -> None:
    assert known(state) == []
    state.discard(By.ID, ["a"])

    assert list(tmp_path.iterdir()) == []


def test_a_broker_without_a_file_has_no_state() -> None:
    assert state_of("memory://", Stores()) is None


def test_what_one_worker_writes_another_reads(state: RevocationFile, tmp_path: Path) -> None:
    state.add(By.ID, ["a", "b"])
    state.add(By.NAME, ["shop.add"])
    other = RevocationFile(f"{tmp_path}/broker.db{SUFFIX}", SqliteConfig())

    assert sorted(known(other)) == ["a", "b"]
    assert known(other, By.NAME) == ["shop.add"]
    other.close()


def test_what_is_discarded_is_gone_for_all(state: RevocationFile, tmp_path: Path) -> None:
    state.add(By.ID, ["a", "b"])
    state.discard(By.ID, ["a"])

    assert known(state) == ["b"]


def test_its_age_counts_from_the_revocation(state: RevocationFile, monkeypatch: pytest.MonkeyPatch) -> None:
    state.add(By.ID, ["old"])
    now_at, now = clock.now() + KEEP_S - 5.0, clock.monotonic()
    monkeypatch.setattr(clock, "now", lambda: now_at)
    into = Revocations()
    state.load(into)

    assert list(into[By.ID].ids(now)) == ["old"]
    assert list(into[By.ID].ids(now + 10.0)) == []


def test_what_is_too_old_is_not_read_and_goes_with_the_next_write(
    state: RevocationFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.add(By.ID, ["old"])
    later = RevocationFile(f"{tmp_path}/broker.db{SUFFIX}", SqliteConfig())
    now_at = clock.now() + KEEP_S + 5.0
    monkeypatch.setattr(clock, "now", lambda: now_at)

    assert known(later) == []
    later.add(By.ID, ["new"])
    monkeypatch.undo()
    assert known(later) == ["new"]
    later.close()


def test_the_file_holds_no_more_than_the_limit(state: RevocationFile, tmp_path: Path) -> None:
    state.add(By.NAME, ["shop.add"])
    later = RevocationFile(f"{tmp_path}/broker.db{SUFFIX}", SqliteConfig())
    later.add(By.ID, [str(number) for number in range(MAX_IDS + 10)])

    assert len(known(later)) == MAX_IDS
    assert known(later, By.NAME) == ["shop.add"]
    later.close()


def test_a_file_that_is_none_costs_a_log_line(
    state: RevocationFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"broker.db{SUFFIX}").write_bytes(b"nonsense" * 1000)

    with caplog.at_level(logging.ERROR):
        lenient = Forgiving(state)
        lenient.add(By.ID, ["a"])
        lenient.load(Revocations())
        lenient.discard(By.ID, ["a"])

    assert f"broker.db{SUFFIX} is not a sound SQLite database" in caplog.text


def test_a_file_that_was_deleted_in_use_is_made_again(state: RevocationFile, tmp_path: Path) -> None:
    state.add(By.ID, ["a"])
    for each in tmp_path.iterdir():
        each.unlink()
    state.add(By.ID, ["b"])

    assert known(state) == ["b"]
