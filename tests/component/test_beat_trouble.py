"""A store that is gone, corrupt, full or replaced, and what the apps' code declared: firing goes on."""

from __future__ import annotations

import logging
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from taskd.beat.messages import occurrence_id
from taskd.beat.stores.base import Declared
from taskd.config.schedule import BeatEntryConfig
from taskd.protocol.status import Heartbeat
from tests.component.beat_bench import NOON, Bench, every
from tests.component.beat_fixtures import Make, make
from tests.waiting import wait_until

__all__ = ["make"]


def ids_of(name: str, *offsets_s: float) -> list[str]:
    return [occurrence_id(name, NOON + offset_s) for offset_s in offsets_s]


def delete(bench: Bench) -> None:
    for suffix in ("", "-wal", "-shm"):
        bench.path.with_name(bench.path.name + suffix).unlink(missing_ok=True)


def test_a_store_that_was_corrupt_from_the_start_is_reported_and_the_file_fires(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make(every("minute", 60.0))
    bench.path.write_bytes(b"no database " * 1000)
    bench.start()

    bench.advance(60.0)

    assert bench.broker.ids == ids_of("minute", 60)
    reports = [each for each in caplog.messages if "not a sound SQLite database" in each]
    assert len(reports) == 1


def troubles(bench: Bench) -> list[str]:
    """Return what the last heartbeat tells the supervisor."""
    beats = [line for line in bench.lines if isinstance(line, Heartbeat)]
    return [each.text for each in beats[-1].troubles]


def test_a_store_that_is_away_and_one_that_was_lost_are_told_with_the_heartbeats(make: Make) -> None:
    bench = make(every("minute", 60.0))
    bench.path.write_bytes(b"no database " * 1000)
    bench.start()
    bench.advance(60.0)

    (told,) = troubles(bench)
    assert told.startswith("the store cannot be used, so no history is kept, ")
    assert "not a sound SQLite database" in told
    bench.path.unlink()

    def is_well() -> bool:
        bench.advance(0.0)
        return troubles(bench) == []

    wait_until(is_well)
    delete(bench)
    bench.advance(60.0)
    bench.advance(60.0)

    (told,) = troubles(bench)
    assert told.startswith("the file of the store was deleted or replaced while in use; ")
    bench.advance(60.0)
    assert troubles(bench) == [told], "what was in it stays lost"


def test_a_store_that_is_repaired_gets_what_was_decided_meanwhile(make: Make) -> None:
    bench = make(every("minute", 60.0))
    bench.path.write_bytes(b"no database " * 1000)
    bench.start()
    bench.advance(60.0)

    bench.path.unlink()

    def is_recorded() -> bool:
        bench.advance(0.0)
        return bench.path.exists() and len(bench.history()) == 1

    wait_until(is_recorded, timeout_s=20.0)
    bench.stop()
    bench.start()
    bench.advance(59.0)
    assert bench.broker.ids == ids_of("minute", 60)


def test_a_store_that_is_deleted_while_it_is_used_is_made_anew(make: Make) -> None:
    bench = make(every("minute", 60.0))
    bench.start()
    bench.advance(60.0)
    delete(bench)

    bench.advance(60.0)
    bench.advance(60.0)

    assert bench.broker.ids == ids_of("minute", 60, 120, 180)
    assert bench.history()[-1].due_at == NOON + 180
    with_mark = bench.operator()
    assert [mark.decided_at for mark in with_mark.marks()] == [NOON + 180]
    with_mark.close()


@contextmanager
def no_file_may_grow() -> Iterator[None]:
    """Make every write beyond the present sizes fail, as a full disk does."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_stops_no_run_and_loses_no_decision(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    bench = make(every("minute", 60.0))
    bench.start()
    with no_file_may_grow():
        bench.advance(60.0)
        bench.advance(60.0)
    assert bench.broker.ids == ids_of("minute", 60, 120)
    assert "store cannot be used" in caplog.text

    def is_recorded() -> bool:
        bench.advance(0.0)
        return len(bench.history()) == 2

    wait_until(is_recorded, timeout_s=20.0)


def test_two_beats_without_a_store_send_each_run_once(make: Make) -> None:
    bench = make(every("minute", 60.0))
    bench.path.write_bytes(b"no database " * 1000)
    bench.start()
    bench.start()

    bench.advance(60.0)

    assert bench.broker.ids == ids_of("minute", 60)


def test_a_second_beat_takes_over_when_the_first_stops(make: Make) -> None:
    bench = make(every("minute", 60.0))
    first, _second = bench.start(), bench.start()
    bench.advance(60.0)
    first.kill()
    bench.beats.remove(first)

    bench.advance(60.0)

    assert bench.broker.ids == ids_of("minute", 60, 120)
    assert [each.outcome.value for each in bench.history()] == ["sent", "sent"]


def test_garbage_among_the_entries_of_the_store_is_passed_over(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make(every("minute", 60.0))
    store = bench.operator()
    store.put(BeatEntryConfig(name="odd", task="t", cron="61 * * * *", missed="never"), "test")
    store.put(every("sound", 60.0), "test")
    store.close()
    bench.start()

    bench.advance(60.0)

    assert sorted(bench.broker.ids) == sorted([*ids_of("minute", 60), *ids_of("sound", 60)])
    assert "entry=odd" in caplog.text


# -- what apps declare -------------------------------------------------------------------------------


def declared(*names: str) -> Declared:
    entries = {name: every(name, 60.0) for name in names}
    return Declared(entries, frozenset(entry.task for entry in entries.values()))


def test_what_an_app_declared_before_goes_on_while_it_cannot_be_read(make: Make) -> None:
    bench = make()
    bench.start().learn(declared("kept"))
    bench.stop()
    beat = bench.start()
    beat.learn(Declared({"other": every("other", 60.0)}))  # of an app that could be read

    bench.advance(60.0)

    assert sorted(bench.broker.ids) == sorted([*ids_of("kept", 60), *ids_of("other", 60)])


def test_an_entry_that_is_declared_no_more_fires_no_more(make: Make) -> None:
    bench = make()
    beat = bench.start()
    beat.learn(declared("gone", "stays"))
    beat.learn(declared("stays"))

    bench.advance(60.0)

    assert bench.broker.ids == ids_of("stays", 60)


def test_a_task_that_no_app_has_is_a_warning_with_the_nearest_name(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bench = make(BeatEntryConfig(name="odd", task="tasks.stay", every=60.0))

    bench.start().learn(declared("stays"))

    assert 'entry=odd task="tasks.stay"; did you mean "tasks.stays"?' in caplog.text
    assert os.path.exists(bench.path)
