"""Tells the scheduler classes of Celery's beat apart: which of them our beat can stand for."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from celery import beat
from celery.utils.imports import load_extension_class_names, symbol_by_name

from taskd.base.errors import ConfigError

if TYPE_CHECKING:
    from celery import Celery

_REMEDY = 'run `celery beat` as a [program], with [beat] run = "never"'


class SchedulerKind(Enum):
    """The place where a scheduler class keeps its entries."""

    #: ``beat_schedule``; the class adds nothing to it.
    CODE = "code"
    #: The tables of django_celery_beat.
    DATABASE = "database"
    #: The keys of RedBeat.
    REDBEAT = "redbeat"
    #: A class that nobody knows here.
    OTHER = "other"


def scheduler_class(app: Celery, chosen: str = "") -> type:
    """Return the class that ``celery beat`` would use; ``chosen`` as its ``--scheduler``.

    Raises: ``ConfigError`` where it cannot be imported.
    """
    name = chosen or app.conf.beat_scheduler or "celery.beat:PersistentScheduler"
    try:
        aliases = dict(load_extension_class_names("celery.beat_schedulers"))
        found: type = symbol_by_name(name, aliases=aliases)
    except Exception as error:
        key = "[beat] scheduler" if chosen else "beat_scheduler"
        raise ConfigError(f'{key} "{name}" cannot be imported: {type(error).__name__}: {error}') from error
    return found


def kind_of(scheduler: type) -> SchedulerKind:
    """Return where a scheduler class keeps its entries."""
    modules = {each.__module__ for each in scheduler.__mro__}
    if "django_celery_beat.schedulers" in modules:
        return SchedulerKind.DATABASE
    if any(module.partition(".")[0] == "redbeat" for module in modules):
        return SchedulerKind.REDBEAT
    if scheduler in {beat.Scheduler, beat.PersistentScheduler}:
        return SchedulerKind.CODE
    return SchedulerKind.OTHER


def refusal_of(scheduler: type) -> tuple[str, str]:
    """Return why our beat cannot stand for a scheduler class, and the remedy; empty texts where it can."""
    if kind_of(scheduler) is not SchedulerKind.OTHER:
        return "", ""
    name = f"{scheduler.__module__}.{scheduler.__qualname__}"
    return f"{name} is a scheduler of its own, which beat cannot run", _REMEDY
