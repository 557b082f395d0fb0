"""Entries that others ran before: their runs are decided up to a moment that the app's code knows."""

from __future__ import annotations

from taskd.beat.book import Book
from taskd.beat.entries import EntrySource, schedule_text
from taskd.beat.stores.base import Mark
from taskd.config.schedule import BeatEntryConfig

NOW = 1_000_000.0
HOURLY = BeatEntryConfig(name="job", task="t", every=3600.0)
EVERY_MINUTE = BeatEntryConfig(name="job", task="t", every=60.0)


def book_with(entry: BeatEntryConfig, since: float, source: EntrySource = EntrySource.APP) -> Book:
    book = Book(NOW)
    list_anew(book, entry, since, source)
    return book


def list_anew(
    book: Book, entry: BeatEntryConfig, since: float, source: EntrySource = EntrySource.APP, now: float = NOW
) -> None:
    book.listing.since = {entry.name: since}
    book.refresh(book.listing.replace(source, {entry.name: entry}), now)


def first_at(book: Book) -> float:
    return book.rows["job"].first_at


def mark_of(entry: BeatEntryConfig, decided_at: float, last_due_at: float | None = None) -> Mark:
    return Mark("job", schedule_text(entry), decided_at, last_due_at=last_due_at)


def test_an_entry_that_beat_has_never_seen_counts_from_then() -> None:
    assert first_at(book_with(HOURLY, NOW - 7200.0)) == 993_600.0


def test_a_moment_that_lies_ahead_counts_as_now() -> None:
    assert first_at(book_with(HOURLY, NOW + 7200.0)) == 1_000_800.0


def test_it_is_for_the_apps_own_entries_alone() -> None:
    assert first_at(book_with(HOURLY, NOW - 7200.0, EntrySource.FILE)) == 1_000_800.0


def test_of_beats_own_record_and_the_moment_the_later_one_counts() -> None:
    book = book_with(HOURLY, NOW - 7200.0)
    book.adopt([mark_of(HOURLY, NOW - 3600.0)], NOW)
    assert first_at(book) == 997_200.0

    book = book_with(HOURLY, NOW - 3600.0)
    book.adopt([mark_of(HOURLY, NOW - 7200.0)], NOW)
    assert first_at(book) == 997_200.0
    assert "job" in book.dirty  # the store has to learn of it


def test_a_changed_schedule_counts_from_then_but_repeats_no_run_of_ours() -> None:
    book = book_with(HOURLY, NOW - 7200.0)
    list_anew(book, EVERY_MINUTE, NOW - 600.0)
    assert first_at(book) == 999_420.0

    book = book_with(HOURLY, NOW - 7200.0)
    book.settle("job", mark_of(HOURLY, NOW, last_due_at=NOW - 300.0))
    list_anew(book, EVERY_MINUTE, NOW - 600.0)
    assert first_at(book) == 999_720.0


def test_a_schedule_that_was_changed_while_no_beat_ran_does_so_too() -> None:
    book = book_with(EVERY_MINUTE, NOW - 600.0)

    book.adopt([mark_of(HOURLY, NOW - 900.0, last_due_at=NOW - 300.0)], NOW)

    assert first_at(book) == 999_720.0
    assert book.next_at() == first_at(book)
