"""The tables of the scheduler: [beat] and [beat.schedule.NAME]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from taskd.config.built_in import BEAT_STORES
from taskd.config.option import Applies, ValueForm, option
from taskd.config.process import ProcessConfig
from taskd.config.programs import DEFAULT_QUEUE

SOLAR_EVENTS = (
    "dawn_astronomical",
    "dawn_nautical",
    "dawn_civil",
    "sunrise",
    "solar_noon",
    "sunset",
    "dusk_civil",
    "dusk_nautical",
    "dusk_astronomical",
)


#: A key that a running beat takes over.
_live = partial(option, applies=Applies.LIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhenConfig:
    """When a periodic task fires: the keys of an entry that make its schedule.

    Moments are texts of ISO 8601; ``timezone`` is the zone of moments without an offset.  Empty texts and
    None mean that the key is not given; ``config.when`` has the rules between the keys.
    """

    every: float | None = _live(
        ValueForm.DURATION,
        "Interval. An entry has one of every, cron, at and solar.",
        default=None,
        minimum=0.01,
    )
    cron: str = _live(ValueForm.CRON, "Five cron fields, or a name such as @daily.", default="")
    cron_days: str = _live(
        ValueForm.CHOICE,
        "Whether day and weekday of cron must both match, or either. auto means both if one of them "
        "begins with a star.",
        default="auto",
        choices=("auto", "either", "both"),
    )
    at: str = _live(ValueForm.MOMENT, "The one moment to run at.", default="")
    solar: str = _live(
        ValueForm.CHOICE, "Event of the sun at latitude and longitude.", default="", choices=SOLAR_EVENTS
    )
    latitude: float | None = _live(
        ValueForm.NUMBER, "Degrees north, for solar.", default=None, minimum=-90, maximum=90
    )
    longitude: float | None = _live(
        ValueForm.NUMBER, "Degrees east, for solar.", default=None, minimum=-180, maximum=180
    )
    timezone: str = _live(
        ValueForm.ZONE, "Time zone of cron, and of moments without an offset.", default="UTC"
    )
    dst_gap: str = _live(
        ValueForm.CHOICE,
        "Rule for a local time that the clock leaves out: next runs at the next instant, skip does not "
        "run. auto follows cron.",
        default="auto",
        choices=("auto", "next", "skip"),
    )
    dst_overlap: str = _live(
        ValueForm.CHOICE,
        "Rule for a local time that the clock shows twice: first runs the first time, both runs both "
        "times. auto follows cron.",
        default="auto",
        choices=("auto", "first", "both"),
    )
    align: str = _live(
        ValueForm.MOMENT, "A moment at which every fires, and from which it counts.", default=""
    )
    start: str = _live(ValueForm.MOMENT, "No run before this moment.", default="")
    end: str = _live(ValueForm.MOMENT, "No run after this moment.", default="")
    max_runs: int = _live(
        ValueForm.INTEGER,
        "Number of the last occurrence, counted from start. 0 means no limit.",
        default=0,
        minimum=0,
        maximum=10_000,
    )
    jitter: float = _live(
        ValueForm.DURATION,
        "Each run is later by up to this much, the same on every host.",
        default=0.0,
        minimum=0.0,
        maximum=86_400,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatEntryConfig(WhenConfig):
    """[beat.schedule.NAME]: a task that is sent periodically."""

    name: str
    task: str = _live(ValueForm.TEXT, "Name of the task to send.")
    args: tuple[Any, ...] = _live(ValueForm.ANY_LIST, "Positional arguments.", factory=tuple)
    kwargs: Mapping[str, Any] = _live(ValueForm.ANY_MAP, "Keyword arguments.", factory=dict)
    headers: Mapping[str, Any] = _live(
        ValueForm.ANY_MAP, "Headers of the message, beside those of the task protocol.", factory=dict
    )
    queue: str = _live(ValueForm.TEXT, "Queue to send to.", default=DEFAULT_QUEUE)
    priority: int = _live(
        ValueForm.INTEGER, "Priority from 0 to 9. 9 is served first.", default=0, minimum=0, maximum=9
    )
    expires: float = _live(
        ValueForm.DURATION,
        "A run that has waited longer is dropped. 0 turns this off.",
        default=0.0,
        minimum=0.0,
    )
    missed: str = _live(
        ValueForm.CHOICE,
        "Rule for runs that came due while beat could not send: skip sends none of them, last the last "
        "one, all every one.",
        default="last",
        choices=("skip", "last", "all"),
    )
    max_missed: int = _live(
        ValueForm.INTEGER,
        'With missed = "all": largest number of missed runs that are sent, the latest ones.',
        default=100,
        minimum=1,
        maximum=10_000,
    )
    missed_after: float = _live(
        ValueForm.DURATION,
        'With missed = "skip": a run that is later than this is not sent.',
        default=30.0,
        minimum=0.1,
    )
    overlap: str = _live(
        ValueForm.CHOICE,
        "Rule for a run that comes due while the former one waits or runs: skip drops it, queue "
        "sends it afterwards, allow sends it at once.",
        default="allow",
        choices=("skip", "queue", "allow"),
    )


@dataclass(frozen=True, slots=True)
class BeatConfig(ProcessConfig):
    """[beat]: the embedded scheduler."""

    run: str = option(
        ValueForm.CHOICE,
        "Whether beat runs on this host. auto means that it runs when the file has entries or a scheduler.",
        default="auto",
        choices=("auto", "always", "never"),
        applies=Applies.LIVE,  # it decides whether there is a beat, not how one works
    )
    store: str = option(
        ValueForm.URL,
        "Store of past runs, and of entries made at run time. Empty means beat.db beside the broker's file, "
        "or in supervisor.state_directory where the broker has none.",
        default="",
        choices=tuple(BEAT_STORES),
        secret=True,
    )
    history: int = option(
        ValueForm.INTEGER,
        "Number of past decisions that are kept of each entry.",
        default=50,
        minimum=1,
        maximum=10_000,
    )
    read_app: bool = option(
        ValueForm.BOOLEAN,
        "Whether beat imports the workers' apps at its start, in processes of their own, and reads the "
        "entries that they declare.",
        default=True,
    )
    scheduler: str = option(
        ValueForm.TEXT,
        "Scheduler class of a Celery app, as `celery beat --scheduler` takes it. Empty follows the app's "
        "beat_scheduler.",
        default="",
    )
    schedule: Mapping[str, BeatEntryConfig] = field(default_factory=dict)
    interpreter: str = option(
        ValueForm.TEXT,
        "Python that runs beat, from another virtualenv that also has taskd. Empty means the daemon's.",
        default="",
    )

    @property
    def runs(self) -> bool:
        """Whether beat runs on this host."""
        return self.run == "always" or (self.run == "auto" and bool(self.schedule or self.scheduler))
