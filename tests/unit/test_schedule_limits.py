"""Alignment, single moments, start, end, number of runs and jitter."""

from __future__ import annotations

import math
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.base.errors import ConfigError
from taskd.beat.schedules.build import schedule_of
from taskd.beat.schedules.interval import Interval
from taskd.beat.schedules.limits import Jittered, last_of
from taskd.beat.schedules.schedule import Schedule
from taskd.beat.schedules.zones import zone_named
from taskd.config.schedule import WhenConfig

BERLIN = "Europe/Berlin"
#: The first two runs after that moment, as the first release has them.
GOLDEN = [1_800_000_051.234, 1_800_003_613.736]
moments = st.floats(min_value=946_684_800.0, max_value=2_524_608_000.0)


def at(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def runs(schedule: Schedule, start: float, most: int = 20) -> list[float]:
    found: list[float] = []
    while len(found) < most and (start := schedule.next_after(start)) != math.inf:
        found.append(start)
    return found


@given(every_s=st.integers(1, 10_000_000), anchor=moments, moment=moments)
def test_an_aligned_interval_fires_at_its_anchor_and_whole_intervals_from_it(
    every_s: int, anchor: float, moment: float
) -> None:
    found = Interval(float(every_s), round(anchor)).next_after(moment)

    assert moment < found <= moment + every_s
    assert (found - round(anchor)) % every_s == 0


def test_an_interval_is_aligned_to_a_local_time_of_its_zone() -> None:
    schedule = schedule_of(WhenConfig(every=43_200.0, align="2026-01-01T03:00:00", timezone=BERLIN))

    assert schedule.next_after(at("2026-01-10T12:00")) == at("2026-01-10T15:00")


def test_an_interval_is_elapsed_time_across_a_dst_change() -> None:
    schedule = schedule_of(WhenConfig(every=86_400.0, align="2026-03-01T03:00:00", timezone=BERLIN))

    assert schedule.next_after(at("2026-03-29T12:00")) == at("2026-03-30T04:00")


def test_a_single_moment_comes_once_in_its_zone() -> None:
    schedule = schedule_of(WhenConfig(at="2027-01-01T03:00:00", timezone=BERLIN))

    assert runs(schedule, 0.0) == [at("2027-01-01T03:00:00")]


def test_a_single_moment_with_an_offset_needs_no_zone() -> None:
    schedule = schedule_of(WhenConfig(at="2027-01-01T02:00:00Z", timezone="Asia/Tokyo"))

    assert runs(schedule, 0.0) == [at("2027-01-01T03:00:00")]


@pytest.mark.parametrize(("gap", "expected"), [("auto", "03:00"), ("next", "03:00"), ("skip", None)])
def test_a_single_moment_that_the_clock_leaves_out_comes_after_the_gap_or_not_at_all(
    gap: str, expected: str | None
) -> None:
    schedule = schedule_of(WhenConfig(at="2026-03-29T02:30:00", timezone=BERLIN, dst_gap=gap))

    assert runs(schedule, 0.0) == ([at(f"2026-03-29T{expected}")] if expected else [])


def test_a_single_moment_that_the_clock_shows_twice_is_the_first() -> None:
    schedule = schedule_of(WhenConfig(at="2026-10-25T02:30:00", timezone=BERLIN))

    assert runs(schedule, 0.0) == [at("2026-10-25T02:30", fold=0)]


def test_start_and_end_are_included() -> None:
    when = WhenConfig(
        cron="0 3 * * *", timezone=BERLIN, start="2026-05-01T03:00:00", end="2026-05-03T03:00:00"
    )

    assert runs(schedule_of(when), 0.0) == [at(f"2026-05-0{day}T03:00") for day in (1, 2, 3)]


@given(every_s=st.floats(0.5, 100_000.0), start=moments, count=st.integers(1, 30))
def test_the_last_run_of_an_interval_is_the_one_of_that_number(
    every_s: float, start: float, count: int
) -> None:
    schedule = Interval(every_s)

    assert last_of(schedule, start, count) == runs(schedule, math.nextafter(start, 0), count)[-1]


@pytest.mark.parametrize(
    "when",
    [
        WhenConfig(every=3600.0, start="2026-05-01T00:30:00", max_runs=3),
        WhenConfig(cron="0 * * * *", start="2026-05-01T00:30:00", max_runs=3),
    ],
)
def test_after_so_many_occurrences_from_start_on_there_is_none(when: WhenConfig) -> None:
    assert runs(schedule_of(when), 0.0) == [at(f"2026-05-01T0{hour}:00", "UTC") for hour in (1, 2, 3)]


def test_max_runs_of_an_entry_with_fewer_occurrences_ends_nothing_early() -> None:
    when = WhenConfig(cron="0 0 1 * *", start="2026-05-01T00:00:00", end="2026-06-15T00:00:00", max_runs=9)

    assert len(runs(schedule_of(when), 0.0)) == 2


def test_max_runs_of_a_single_moment_that_is_over_is_no_endless_search() -> None:
    assert (
        last_of(schedule_of(WhenConfig(at="2020-01-01T00:00:00")), at("2026-01-01T00:00"), 10_000) == math.inf
    )


@given(name=st.text(max_size=10), jitter_s=st.floats(0.001, 5000.0), moment=moments)
def test_jitter_delays_each_occurrence_by_less_than_its_bound_and_forgets_none(
    name: str, jitter_s: float, moment: float
) -> None:
    plain = Interval(600.0)
    schedule = Jittered(plain, jitter_s, name)

    found = runs(schedule, moment, 12)

    assert all(earlier < later for earlier, later in pairwise(found))
    # Each run belongs to one occurrence up to ``jitter_s`` before it: match the two sequences from both ends.
    dues = [plain.next_after(moment - jitter_s)]
    while dues[-1] <= found[-1]:
        dues.append(plain.next_after(dues[-1]))
    fires = sorted(Jittered(_Only(due), jitter_s, name).next_after(0.0) for due in dues)
    assert found == [fire for fire in fires if moment < fire <= found[-1]]


def test_jitter_is_the_same_for_every_beat_and_differs_between_entries_and_occurrences() -> None:
    when = WhenConfig(every=3600.0, jitter=3600.0)
    first, again, other = (runs(schedule_of(when, name), 0.0) for name in ("mail", "mail", "bill"))

    assert first == again != other
    assert len({run % 3600 for run in first}) == len(first)


def test_jitter_never_changes_between_releases() -> None:
    # Two hosts of different versions would fire the same occurrence twice.
    schedule = schedule_of(WhenConfig(every=3600.0, jitter=60.0), "mail")

    assert runs(schedule, 1_800_000_000.0, 2) == GOLDEN


@pytest.mark.parametrize("name", ["Europe/Atlantis", "../../etc/passwd", ""])
def test_an_unknown_zone_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match="is unknown; expected an IANA name"):
        zone_named(name)


def test_the_nearest_zone_is_named() -> None:
    with pytest.raises(ConfigError, match='did you mean "Europe/Berlin"'):
        zone_named("Europe/Berln")


def test_a_machine_without_time_zone_data_says_so_and_knows_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskd.beat.schedules.zones.available_timezones", set)

    with pytest.raises(ConfigError, match="no time zone data; install the system package tzdata"):
        zone_named("Europe/Berlim")
    assert zone_named("UTC").utcoffset(None) is not None


class _Only:
    """One occurrence, for a look at its own delay."""

    def __init__(self, due_at: float) -> None:
        self._due_at = due_at

    def next_after(self, moment: float) -> float:
        return self._due_at if self._due_at > moment else math.inf
