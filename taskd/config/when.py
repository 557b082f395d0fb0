"""The rules between the keys that say when, and how its moments are read.  Pure.

Used wherever an entry comes from: the file, an app, or ``taskctl``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time

from taskd.base.plural import counted
from taskd.config.crontab import CronError, parse
from taskd.config.schedule import WhenConfig

MOMENT_FORM = 'a moment such as 2027-01-01T03:00:00, local, or with an offset such as "2027-01-01T02:00:00Z"'
_KINDS = 'exactly one of every = "30s", cron = "0 3 * * *", at = 2027-01-01T03:00:00 and solar = "sunset"'


@dataclass(frozen=True, slots=True)
class WhenProblem:
    """A rule that is broken; ``key`` is empty when no single key is to blame."""

    key: str
    wrong: str
    expected: str


def moment(text: str) -> datetime:
    """Read a moment; it is without zone when the text has no offset.  Raises: ``ValueError``."""
    # fromisoformat of Python 3.10 does not know the Z, which everybody writes.
    return datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in {"Z", "z"} else text)


def moment_text(value: object) -> str:
    """Return the text of a moment from a TOML date-time, date or text.  Raises: ``ValueError``."""
    match value:
        case datetime():
            return value.isoformat()
        case date():
            return datetime.combine(value, time()).isoformat()
        case str() if value:
            return moment(value).isoformat()
        case _:
            raise ValueError(MOMENT_FORM)


def problems_of(when: WhenConfig) -> Iterator[WhenProblem]:
    """Yield what is wrong between keys that are sound by themselves."""
    given = [
        key
        for key, there in (
            ("every", when.every is not None),
            ("cron", bool(when.cron)),
            ("at", bool(when.at)),
            ("solar", bool(when.solar)),
        )
        if there
    ]
    if len(given) != 1:
        wrong = (
            f"{' and '.join(given)} are given" if given else "the entry has none of every, cron, at and solar"
        )
        yield WhenProblem("", wrong, _KINDS)
        return
    yield from _days(when)
    yield from _place(when)
    yield from _bounds(when)
    yield from _idle(when)


def _days(when: WhenConfig) -> Iterator[WhenProblem]:
    if when.cron_days == "auto":
        return
    if not when.cron:
        yield WhenProblem("cron_days", "the key does nothing without cron", "cron beside it")
        return
    try:
        parse(when.cron, when.cron_days)
    except CronError as error:
        yield WhenProblem("cron", f'"{when.cron}", column {error.column}: {error.wrong}', error.expected)


def _place(when: WhenConfig) -> Iterator[WhenProblem]:
    for key in ("latitude", "longitude"):
        there = getattr(when, key) is not None
        if there != bool(when.solar):
            wrong = "the key does nothing without solar" if there else f"solar needs the {key} of the place"
            yield WhenProblem(key, wrong, "both latitude and longitude beside solar")


def _bounds(when: WhenConfig) -> Iterator[WhenProblem]:
    if when.max_runs and not when.start:
        yield WhenProblem("max_runs", "there is no start to count from", "a moment start beside it")
    if when.start and when.end:
        start = moment(when.start)
        end = moment(when.end)
        # One local and one with an offset cannot be compared without the zone; that is left to the run.
        if (start.tzinfo is None) == (end.tzinfo is None) and end < start:
            yield WhenProblem("end", "the end lies before the start", f"a moment after {when.start}")
    if when.every is not None and when.jitter > when.every:
        yield WhenProblem(
            "jitter", "runs would overtake each other", f"at most every, {counted(when.every, 'second')}"
        )


def _idle(when: WhenConfig) -> Iterator[WhenProblem]:
    """Yield keys that would do nothing, and so do not do what whoever wrote them meant."""
    if when.align and when.every is None:
        yield WhenProblem("align", "only intervals are aligned", "every beside it, or no align")
    if when.at:
        for key in ("start", "end", "max_runs"):
            if getattr(when, key):
                yield WhenProblem(key, "an entry with at runs once", f"no {key}")
    if when.dst_gap != "auto" and not (when.cron or when.at):
        yield WhenProblem("dst_gap", "the schedule does not follow a local time", "cron or at beside it")
    if when.dst_overlap != "auto" and not when.cron:
        yield WhenProblem("dst_overlap", "the schedule does not follow a local time", "cron beside it")
