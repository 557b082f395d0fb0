"""One row of django_celery_beat as an entry of ours, or as one whose own class says when it is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from celery.schedules import crontab, schedule, solar
from kombu.utils.json import loads

from taskd.app.from_celery import when_of
from taskd.base import clock
from taskd.base.errors import ConfigError
from taskd.config.schedule import WhenConfig
from taskd.execution.celery.schedule.scheduling import ended, moment_of, own_kind, zone_name

if TYPE_CHECKING:
    from celery import Celery

THEIRS = "django_celery_beat."
_CRONTAB_FIELDS = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
_JSON_FIELDS: Mapping[str, tuple[type, str]] = {
    "args": (list, "[]"),
    "kwargs": (dict, "{}"),
    "headers": (dict, "{}"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be sent."""

    #: An object of the scheduler's class ``Entry``.
    entry: Any
    #: None: the classes of the entry and of its schedule decide by themselves when it is due.
    when: WhenConfig | None
    #: The wall-clock second of its last run, or of its making.
    since: float


def row_of(app: Celery, entry_class: Any, model: Any) -> Row:
    """Return a row of the table.

    Raises: ``ConfigError`` for one that cannot be sent; its object is not made, which would disable it.
    """
    for name, (kind, empty) in _JSON_FIELDS.items():
        _check_json(name, getattr(model, name, None) or empty, kind)
    try:
        timing = model.schedule
    except Exception as error:
        why = f"{_broken_field(model)}{type(error).__name__}: {error}"
        raise ConfigError(f"its schedule cannot be read: {why}") from error
    since = _since(model)  # before the object is made, which sets the time of a run that was not
    entry = entry_class(model, app=app)
    return Row(entry, None if _asks(entry, timing) else _when(app, model, timing, since), since)


def _broken_field(model: Any) -> str:
    """Return the field of a row's crontab that Celery does not read, with a colon; empty for none."""
    for name in _CRONTAB_FIELDS:
        text = getattr(getattr(model, "crontab", None), name, "*")
        try:
            crontab(**{name: text})
        except Exception:  # noqa: BLE001 - whatever its parser raises
            return f'{name} = "{text}": '
    return ""


def _check_json(name: str, text: str, kind: type) -> None:
    try:
        value = loads(text)
    except ValueError as error:
        raise ConfigError(f"{name} is not JSON: {error}") from error
    if not isinstance(value, kind):
        wanted = "a JSON list" if kind is list else "a JSON object"
        raise ConfigError(f"{name} is {text}; expected {wanted}")


def _asks(entry: Any, timing: object) -> bool:
    """Whether a class that is not django_celery_beat's own decides when the row is due."""
    is_due = type(entry).is_due
    if not is_due.__module__.startswith(THEIRS):
        return True
    return not type(timing).__module__.startswith(THEIRS) and own_kind(timing) is not None


def _when(app: Celery, model: Any, timing: Any, since: float) -> WhenConfig:
    """Return the schedule of a row, with its start and its end."""
    if hasattr(timing, "clocked_time"):
        return moment_of(timing.clocked_time.timestamp())
    when = _plain(app, timing)
    start_at = None if model.start_time is None else _seconds(model.start_time)
    if model.one_off and when.every is not None:
        return moment_of(since + when.every if start_at is None else start_at)
    if model.one_off:
        return replace(when, start=clock.iso(since if start_at is None else start_at), max_runs=1)
    if start_at is not None:
        # As in Celery, an interval with a start runs then, and counts from there.
        align = clock.iso(start_at) if when.every is not None else when.align
        when = replace(when, start=clock.iso(start_at), align=align)
    return when if model.expires is None else ended(when, _seconds(model.expires))


def _plain(app: Celery, timing: Any) -> WhenConfig:
    """Return a schedule without the clock that django_celery_beat gives each of its own."""
    match timing:
        case crontab():
            zone = zone_name(getattr(timing, "tz", None) or app.timezone)
            fields = {name: getattr(timing, f"_orig_{name}") for name in _CRONTAB_FIELDS}
            return when_of(crontab(**fields, app=app), zone)
        case solar():
            return when_of(solar(timing.event, timing.lat, timing.lon, app=app))
        case schedule():
            return when_of(schedule(timing.run_every, app=app))
        case _:
            raise ConfigError(f"{timing!r} is not a schedule that beat knows")


def _since(model: Any) -> float:
    """Return up to when a row's runs are decided: up to its last run, its start, or its last change."""
    if model.last_run_at is None and model.start_time is not None:
        return _seconds(model.start_time) - 1.0
    moment = model.last_run_at or model.date_changed
    return clock.now() if moment is None else _seconds(moment)


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)).timestamp()
