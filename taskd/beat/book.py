"""The memory of a beat: every entry with its schedule and its mark, and the agenda of coming runs.

Pure: callers tell it the time and the content of stores and files.  Where a mark is a *guess* (an entry that
this beat sees for the first time) the store's counts; where it rests on decisions, whichever is further.

A clock that goes back a little (an NTP step, another beat's clock that is ahead) repeats nothing: a run that
fired stays fired.  When it goes back by more than ``STEP_BACK_S`` entries are planned anew from the new time,
because they would otherwise be silent until the old, wrong time comes round again.  The broker refuses ids
that were sent already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from taskd.base.errors import ConfigError
from taskd.beat.agenda import Agenda
from taskd.beat.catch_up import Missed, Rule
from taskd.beat.entries import EntrySource, Listed, Listing, schedule_text
from taskd.beat.overlap import OverlapRule
from taskd.beat.schedules.build import schedule_of
from taskd.beat.schedules.schedule import Schedule
from taskd.beat.stores.base import Mark, RunRequest, StoreChanges

#: Seconds.  Less than the shortest cron period, so that a small step back cannot repeat a cron run.
STEP_BACK_S = 60.0

# Looked up in a dictionary: calling an enum is slow where there are many entries.
_MISSED = {each.value: each for each in Missed}
_OVERLAP = {each.value: each for each in OverlapRule}


@dataclass(slots=True)
class EntryRow:
    """One entry at work."""

    listed: Listed
    schedule: Schedule
    rule: Rule
    overlap: OverlapRule
    mark: Mark
    is_guess: bool
    #: Its next run waits for the former one to end.
    waits: bool = False

    @property
    def first_at(self) -> float:
        """The first occurrence that is not decided."""
        return self.schedule.next_after(self.mark.decided_at)


def _nobody_hears(name: str, why: str) -> None:
    """Tests look at ``unusable``."""


class Book:
    """All entries of one beat."""

    def __init__(self, now: float, parked: Callable[[str, str], None] = _nobody_hears) -> None:
        """``parked`` hears the name of an entry that is parked, and why."""
        self._parked = parked
        self.listing = Listing()
        self.rows: dict[str, EntryRow] = {}
        self.agenda = Agenda()
        self.requests: dict[int, RunRequest] = {}
        #: Names whose mark the store does not have yet.
        self.dirty: set[str] = set()
        #: Entries that cannot be used, with the reason.
        self.unusable: dict[str, str] = {}
        self.revision = 0
        self._seen_at = now
        #: While everything is loaded: the schedules that were made, because many entries may have one.
        self._alike: dict[str, Schedule] | None = None

    # -- entries ---------------------------------------------------------------------------------

    def apply(self, changes: StoreChanges) -> set[str]:
        """Take over what operators changed; return the names to ``refresh``."""
        entries = self.listing.by_source[EntrySource.RUN_TIME]
        for name, entry in changes.entries.items():
            if entry is None:
                entries.pop(name, None)
            else:
                entries[name] = entry
        self.listing.pauses.update(changes.pauses)
        self.requests = {request.number: request for request in changes.requests}
        self.revision = changes.revision
        return {*changes.entries, *changes.pauses}

    def forget_run_time(self) -> set[str]:
        """Forget what operators changed, as its store is another one now; return the names to ``refresh``."""
        entries = self.listing.by_source[EntrySource.RUN_TIME]
        names = {*entries, *self.listing.pauses}
        entries.clear()
        self.listing.pauses.clear()
        self.requests.clear()
        self.revision = 0
        return names

    def load(self, marks: Iterable[Mark], now: float) -> None:
        """Plan everything that is listed, at the start; ``marks`` are what the store knows."""
        self._alike = {}
        for name in self.listing.names():
            self._make_row(name, None, now)
        self._take_marks(marks, now)
        self._plan_all()
        self._alike = None

    def refresh(self, names: Iterable[str], now: float) -> None:
        """Plan these names anew, as they are listed now."""
        for name in names:
            self.agenda.drop(name)
            row = self._make_row(name, self.rows.pop(name, None), now)
            if row is not None and not row.listed.is_paused:
                self.agenda.put(name, self._first_at(row))

    def park(self, name: str, error: Exception) -> None:
        """Fire an entry no more on which beat itself has failed: until it, or the time, is changed.

        Otherwise one entry would keep all the others from firing.
        """
        why = f"beat failed on it: {type(error).__name__}: {error}"
        self.agenda.drop(name)
        self.unusable[name] = why
        self._parked(name, why)

    def _first_at(self, row: EntryRow) -> float:
        try:
            return row.first_at
        except Exception as error:  # noqa: BLE001 - the barrier of entries
            self.park(row.mark.name, error)
            return math.inf

    def _make_row(self, name: str, former: EntryRow | None, now: float) -> EntryRow | None:
        self.unusable.pop(name, None)
        listed = self.listing.listed(name)
        if listed is None:
            return None
        entry = listed.entry
        text = schedule_text(entry)
        try:
            schedule = self._schedule(listed, text)
            rule = Rule(_MISSED[entry.missed], entry.max_missed, entry.missed_after)
            overlap = _OVERLAP[entry.overlap]
        except (ConfigError, KeyError) as error:
            self.unusable[name] = str(error)
            return None
        except Exception as error:  # noqa: BLE001 - the barrier of entries
            self.park(name, error)
            return None
        if former is None:
            mark = Mark(name, text, min(listed.since, now))
            is_guess = True
            self.dirty.add(name)
        elif former.mark.schedule == text:
            mark = former.mark
            is_guess = former.is_guess
        else:
            mark = replace(former.mark, schedule=text, decided_at=_since(listed, former.mark, now))
            is_guess = False
            self.dirty.add(name)
        row = self.rows[name] = EntryRow(listed, schedule, rule, overlap, mark, is_guess)
        return row

    def _schedule(self, listed: Listed, text: str) -> Schedule:
        found = None if self._alike is None else self._alike.get(text)
        if found is None:
            # The file was checked when it was read; an entry in a store may come from another version.
            is_checked = listed.source is EntrySource.FILE
            found = schedule_of(listed.entry, listed.entry.name, is_checked=is_checked)
            if self._alike is not None and not listed.entry.jitter:  # jitter differs from name to name
                self._alike[text] = found
        return found

    def adopt_all(self, marks: Iterable[Mark], now: float) -> None:
        """Take over the marks of the beats that led before this one; a mark that the store lacks is dirty."""
        self.dirty.update(self.rows)
        self.adopt(marks, now)

    def adopt(self, marks: Iterable[Mark], now: float) -> None:
        """Take over how far another beat is with some entries."""
        for name in self._take_marks(marks, now):
            row = self.rows[name]
            if not row.listed.is_paused:
                self.agenda.put(name, self._first_at(row))

    def _take_marks(self, marks: Iterable[Mark], now: float) -> list[str]:
        """Take over marks where they count; return the names whose next occurrence may be another one."""
        moved = []
        for known in marks:
            name = known.name
            row = self.rows.get(name)
            if row is None:
                continue
            mark = known
            if mark.schedule != row.mark.schedule:
                if row.is_guess:  # its schedule was changed while no beat ran: it counts from now
                    decided_at = _since(row.listed, mark, row.mark.decided_at)
                    row.mark = replace(mark, schedule=row.mark.schedule, decided_at=decided_at)
                    moved += [name] if row.listed.since < math.inf else []
            elif row.is_guess or mark.decided_at >= row.mark.decided_at:
                self.dirty.discard(name)
                row.is_guess = False
                if mark.decided_at < row.listed.since < math.inf:  # another beat than ours has run it since
                    mark = replace(mark, decided_at=row.listed.since)
                    self.dirty.add(name)
                if mark.decided_at != row.mark.decided_at:
                    moved.append(name)
                row.mark = mark
                if mark.decided_at > now + STEP_BACK_S:
                    row.mark = replace(mark, decided_at=now)
                    self.dirty.add(name)
        return moved

    def _plan_all(self) -> None:
        known: dict[tuple[int, float], float] = {}

        def first_at(row: EntryRow) -> float:
            key = (id(row.schedule), row.mark.decided_at)  # the rows keep the schedules alive
            found = known.get(key)
            if found is None:
                found = known[key] = self._first_at(row)
            return found

        rows = self.rows.items()
        self.agenda.plan([(name, first_at(row)) for name, row in rows if not row.listed.is_paused])

    # -- time ------------------------------------------------------------------------------------

    def notice(self, now: float) -> bool:
        """Look at the clock; return True when it was set back so far that everything is planned anew."""
        stepped = now < self._seen_at - STEP_BACK_S
        self._seen_at = now
        if stepped:
            for name, row in self.rows.items():
                if row.mark.decided_at > now:
                    row.mark = replace(row.mark, decided_at=now)
                    self.dirty.add(name)
            self._plan_all()
        return stepped

    def next_at(self) -> float:
        """Return when something is due; ``inf`` when nothing ever is."""
        return self.agenda.next_at()

    def settle(self, name: str, mark: Mark) -> None:
        """Note a decision about an entry; its next occurrence is planned by the caller."""
        row = self.rows[name]
        row.mark = mark
        row.is_guess = False
        self.dirty.add(name)


def _since(listed: Listed, mark: Mark, now: float) -> float:
    """Return up to when the runs of a changed schedule are decided: up to now, if nobody knows better."""
    if listed.since == math.inf:
        return now
    return max(min(listed.since, now), mark.last_due_at or -math.inf)
