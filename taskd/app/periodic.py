"""When tasks run by themselves, for task authors: ``every``, ``cron``, ``at`` and ``solar``.

Each is a description, checked where it is written; beat makes the schedule of it.  The keys and their
meaning are those of ``[beat.schedule.NAME]`` in the configuration (docs/schedules.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypedDict

from taskd.app.from_celery import when_of
from taskd.app.task import Sendable
from taskd.base.errors import ConfigError
from taskd.config.declared import declared_entry, declared_when
from taskd.config.schedule import BeatEntryConfig, WhenConfig

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from taskd.app.bound import BoundTask

#: A moment with or without an offset; without one it is local time in the schedule's zone.
Moment = str | datetime
Event = Literal[
    "dawn_astronomical",
    "dawn_nautical",
    "dawn_civil",
    "sunrise",
    "solar_noon",
    "sunset",
    "dusk_civil",
    "dusk_nautical",
    "dusk_astronomical",
]


class EntryLimits(TypedDict, total=False):
    """Keywords of every schedule that recurs, all optional."""

    #: No run before the one and after the other.
    start: Moment
    end: Moment
    #: The occurrence of this number, counted from ``start``, is the last.
    max_runs: int
    #: Each run is later by up to this many seconds, the same on every host.
    jitter: float | str


class EntryOptions(TypedDict, total=False):
    """Keywords of ``App.periodic`` and ``App.add_periodic``, all optional: the keys of an entry."""

    kwargs: Mapping[str, object]
    #: Of the message, beside those of the task protocol.
    headers: Mapping[str, object]
    #: Default: what the task says.
    queue: str
    #: 0 to 9; 9 is served first.
    priority: int
    #: A run that waited longer (seconds, or "5m") is dropped; 0 never.
    expires: float | str
    #: The rule for runs that came due while beat could not send, and the largest number of "all".
    missed: Literal["skip", "last", "all"]
    max_missed: int
    missed_after: float | str
    #: The rule for a run that comes due while the former one waits or runs.
    overlap: Literal["skip", "queue", "allow"]


def every(
    interval: float | str | timedelta, *, align: Moment = "", zone: str = "UTC", **limits: Unpack[EntryLimits]
) -> WhenConfig:
    """Return an interval (seconds, ``"5m"`` or a timedelta) on the grid of the epoch, or of ``align``.

    Raises: ``ConfigError``.
    """
    length = interval.total_seconds() if isinstance(interval, timedelta) else interval
    return _when({"every": length, "align": align, "timezone": zone, **limits})


def cron(
    expression: str,
    *,
    zone: str = "UTC",
    days: Literal["auto", "either", "both"] = "auto",
    dst_gap: Literal["auto", "next", "skip"] = "auto",
    dst_overlap: Literal["auto", "first", "both"] = "auto",
    **limits: Unpack[EntryLimits],
) -> WhenConfig:
    """Return a cron expression in an IANA zone.

    Raises: ``ConfigError``, which names the column of what is wrong.
    """
    rules = {"cron_days": days, "dst_gap": dst_gap, "dst_overlap": dst_overlap}
    return _when({"cron": expression, "timezone": zone, **rules, **limits})


def at(moment: Moment, *, zone: str = "UTC") -> WhenConfig:
    """Return one moment, after which there is none.  Raises: ``ConfigError``."""
    return _when({"at": moment, "timezone": zone})


def solar(
    event: Event, *, latitude: float, longitude: float, zone: str = "UTC", **limits: Unpack[EntryLimits]
) -> WhenConfig:
    """Return an event of the sun at a place, in degrees north and east; ``zone`` is for start and end.

    Raises: ``ConfigError``.  Beat needs the extra ``solar`` for it.
    """
    place = {"latitude": latitude, "longitude": longitude}
    return _when({"solar": event, **place, "timezone": zone, **limits})


class Entries(Mapping[str, BeatEntryConfig]):
    """The entries that an app's code declares, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, BeatEntryConfig] = {}

    def __getitem__(self, name: str) -> BeatEntryConfig:
        """Return the entry of a name."""
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order of declaration."""
        return iter(self._by_name)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._by_name)

    def add(
        self,
        name: str,
        task: BoundTask | str,
        schedule: object,
        args: tuple[object, ...],
        options: EntryOptions,
    ) -> None:
        """Check and add one; a task's own queue, priority and ``expires`` hold unless options say otherwise.

        Raises: ``ConfigError`` for what the configuration would refuse, and for a name that is taken;
        ``TypeError`` for arguments that the task's function does not take.
        """
        if name in self._by_name:
            raise ConfigError(f'entry "{name}" is declared twice; expected a name of its own: entry="..."')
        keys: dict[str, object] = {"task": task, "args": list(args), **options}
        if not isinstance(task, str):
            if isinstance(task, Sendable):
                task.check_arguments(args, options.get("kwargs") or {})
            own = task.settings
            keys = {
                "queue": own.queue,
                "priority": own.priority,
                "expires": own.expires,
                **keys,
                "task": task.name,
            }
        given = {key: value for key, value in keys.items() if value is not None}
        self._by_name[name] = declared_entry(name, when_of(schedule), given)


def _when(keys: Mapping[str, object]) -> WhenConfig:
    return declared_when({key: value for key, value in keys.items() if value != ""})
