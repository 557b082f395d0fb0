"""Celery's entries as ours: the schedule, the arguments and the options of a send."""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from celery.beat import BeatLazyFunc
from celery.schedules import crontab, schedule, solar
from kombu.utils.json import dumps

from taskd.app.from_celery import when_of
from taskd.base import clock
from taskd.base.errors import ConfigError, SerializationError
from taskd.config.declared import declared_entry
from taskd.config.schedule import BeatEntryConfig, WhenConfig
from taskd.execution.celery.schedule.destination import Send, routed
from taskd.protocol import serializers

if TYPE_CHECKING:
    from celery import Celery

#: Options of a send that say how Celery's own publisher goes about it.
_OF_THE_PUBLISHER = frozenset(
    {"retry", "retry_policy", "delivery_mode", "mandatory", "immediate", "add_to_parent", "compression"}
)
#: Options that are headers of the message.
_TIME_LIMITS = ("time_limit", "soft_time_limit")
_HEADERS = ("ignore_result", "shadow")
#: The parts of a schedule by which Celery asks it.
_ASKED = ("is_due", "remaining_estimate", "remaining_delta")
_JSON = frozenset({"json", "application/json"})


def entry_of(app: Celery, name: str, when: WhenConfig, send: Send) -> BeatEntryConfig:
    """Return the entry that sends what Celery's beat would send.

    Raises: ``ConfigError`` for what our beat cannot send.
    """
    queue, options = routed(app, send)
    given = {key: value for key, value in options.items() if value is not None}
    _refuse_unsendable(app, send.task, given)
    keys: dict[str, object] = {
        "task": send.task,
        "args": plain(list(send.args), "args"),
        "kwargs": plain(dict(send.kwargs), "kwargs"),
        "queue": queue,
        "headers": _headers(given),
    }
    priority = given.get("priority", app.conf.task_default_priority)
    if priority is not None:
        keys["priority"] = max(0, min(9, int(priority)))
    when = _with_expiry(when, given.get("expires"), keys)
    return declared_entry(name, when, keys, any_name=True)


def when_by(timing: object) -> WhenConfig:
    """Return our description of a Celery schedule.

    Raises: ``ConfigError`` for a class that decides by itself when it is due, and what is not a schedule.
    """
    kind = own_kind(timing)
    if kind is not None:
        raise ConfigError(f"{kind.__module__}.{kind.__qualname__} decides by itself when it is due")
    zone = zone_name(timing.tz) if isinstance(timing, crontab | schedule) else ""
    return when_of(timing, zone)


def moment_of(at: float) -> WhenConfig:
    """Return the schedule that fires once, at a wall-clock second."""
    return WhenConfig(at=clock.iso(at))


def own_kind(timing: object) -> type | None:
    """Return the class of a schedule that is not one of Celery's, nor as good as one; None for those."""
    kind = type(timing)
    for known in (crontab, solar, schedule):
        if isinstance(timing, known):
            is_alike = all(getattr(kind, name, None) is getattr(known, name, None) for name in _ASKED)
            return None if is_alike else kind
    return kind if hasattr(timing, "is_due") else None


def zone_name(zone: tzinfo) -> str:
    """Return the IANA name of an app's zone.  Raises: ``ConfigError`` for one without."""
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if zone in {timezone.utc} or str(zone) == "UTC":
        return "UTC"
    if name is None and type(zone).__name__ == "LocalTimezone":
        name = _local_zone()
    if name is None:
        raise ConfigError(f'the zone {zone!r} has no name; expected timezone = "Europe/Berlin" in Celery\'s')
    return str(name)


def _local_zone() -> str | None:
    """Return the name of this machine's zone."""
    _before, _found, by_link = str(Path("/etc/localtime").resolve()).partition("/zoneinfo/")
    for name in (os.environ.get("TZ", "").lstrip(":"), by_link):
        try:
            if name and ZoneInfo(name):
                return name
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return None


def plain(value: Sequence[object] | Mapping[str, object], what: str) -> Any:
    """Return arguments as plain JSON, written as kombu writes them: dates and UUIDs as Celery reads them.

    Raises: ``ConfigError`` for what has no JSON.
    """
    values = value.values() if isinstance(value, Mapping) else value
    if any(isinstance(each, BeatLazyFunc) for each in values):
        raise ConfigError(f"{what}: a value is made anew at each send (BeatLazyFunc); expected a plain one")
    try:
        text = dumps(value)
        serializers.loads(text.encode())  # a type of the app's own: beat does not know it
        return json.loads(text)
    except (TypeError, ValueError, SerializationError) as error:
        raise ConfigError(f"{what} cannot be written as JSON: {error}") from error


def _refuse_unsendable(app: Celery, task: str, given: Mapping[str, object]) -> None:
    handled = {"priority", "expires", "headers", "serializer", *_TIME_LIMITS, *_HEADERS, *_OF_THE_PUBLISHER}
    left = sorted(set(given) - handled)
    if left:
        raise ConfigError(f"options: beat does not send {', '.join(left)}; expected a task that does so")
    serializer = given.get("serializer", app.conf.task_serializer)
    if serializer not in _JSON and not _JSON & set(app.conf.accept_content or ()):
        raise ConfigError(
            f'the task "{task}" is sent as {serializer}, and beat writes JSON; expected "json" in '
            "accept_content"
        )


def _headers(given: Mapping[str, Any]) -> dict[str, object]:
    headers: dict[str, object] = plain(given.get("headers") or {}, "headers")
    headers.pop("celery_beat_task", None)  # every message of beat has it
    limits = [given.get(key) for key in _TIME_LIMITS]
    if any(limits):
        headers["timelimit"] = limits
    headers.update({key: given[key] for key in _HEADERS if key in given})
    return headers


def _with_expiry(when: WhenConfig, expires: object, keys: dict[str, object]) -> WhenConfig:
    """Return the schedule, which ends at an expiry that is a moment; an expiry in seconds is a key."""
    match expires:
        case None:
            return when
        case timedelta():
            expires = expires.total_seconds()
        case str():
            expires = datetime.fromisoformat(expires.replace("Z", "+00:00"))
        case _:
            pass
    if isinstance(expires, numbers.Real):
        keys["expires"] = max(float(expires), 0.001)
        return when
    if not isinstance(expires, datetime):
        raise ConfigError(f"options: expires is {expires!r}; expected seconds or a moment")
    moment = expires if expires.tzinfo is not None else expires.replace(tzinfo=timezone.utc)
    return ended(when, moment.timestamp())


def ended(when: WhenConfig, end_at: float) -> WhenConfig:
    """Return the schedule without runs after a moment; one that runs once stays as it is."""
    return when if when.at else replace(when, end=clock.iso(end_at))


def why_of(error: Exception) -> str:
    """Return why an entry cannot be sent: our own words, or the error of its class with its type."""
    return str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
