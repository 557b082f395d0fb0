"""A Celery app to be read: its periodic entries, as its own beat would find them, and its tasks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from celery.beat import ScheduleEntry, Scheduler

from taskd.base.errors import ConfigError
from taskd.config.schedule import BeatEntryConfig
from taskd.config.schema import Config
from taskd.execution.celery.conf import findings
from taskd.execution.celery.schedule.destination import Send, routed
from taskd.execution.celery.schedule.schedulers import SchedulerKind, kind_of, refusal_of, scheduler_class
from taskd.execution.celery.schedule.scheduling import entry_of, when_by, why_of
from taskd.execution.task_app import ChangingSchedule, ScheduleReading
from taskd.sending.celery_facts import AppFinding

if TYPE_CHECKING:
    from celery import Celery

REMEDY = "run `celery beat` as a [program], or write the entry into [beat.schedule]"

logger = logging.getLogger(__name__)


class DeclaredCelery:
    """A ``DeclaringApp``."""

    def __init__(self, app: Celery) -> None:
        """Import the app's tasks and configure it, as its beat does; receivers of its signals run."""
        self._app = app
        app.set_current()
        app.set_default()
        app.loader.init_worker()
        app.finalize()

    def entries(self) -> ScheduleReading:
        """Return the entries of ``beat_schedule`` and ``add_periodic_task``.

        One that our beat cannot take over is a problem with its name, and is left out.
        """
        found: dict[str, BeatEntryConfig] = {}
        problems = []
        for name, declared in self._declared().items():
            try:
                entry = self._entry(name, declared)
                send = Send(entry.task, entry.args or (), entry.kwargs or {}, entry.options or {})
                found[name] = entry_of(self._app, name, when_by(entry.schedule), send)
            except Exception as error:  # noqa: BLE001 - the barrier of entries: users wrote them
                problems.append(f'entry "{name}" of beat_schedule does not fire: {why_of(error)}; {REMEDY}')
        return ScheduleReading(found, problems=problems)

    def tasks(self) -> list[str]:
        """Return the names of all tasks, those that Celery itself brings included."""
        return sorted(self._app.tasks)

    def queue_of(self, task: str) -> str:
        """Return the queue to which the routes of the app lead a call without arguments and options."""
        try:
            return routed(self._app, Send(task))[0]
        except Exception:  # noqa: BLE001 - the barrier of routers: users wrote them
            return ""

    def changing(self, scheduler: str) -> ChangingSchedule | None:
        """Return the tables of django_celery_beat, or RedBeat's keys, where the app or the file names them.

        A class that our beat cannot stand for is a warning with the remedy.  Raises: ``ConfigError``.
        """
        found = scheduler_class(self._app, scheduler)
        refusal, remedy = refusal_of(found)
        if refusal:
            logger.warning("entries that are not in the code do not fire: %s; %s", refusal, remedy)
        match kind_of(found):
            case SchedulerKind.DATABASE:
                from taskd.execution.celery.schedule.database import DatabaseSchedule  # it imports Django

                return DatabaseSchedule(self._app, found)
            case SchedulerKind.REDBEAT:
                from taskd.execution.celery.schedule.redbeat import RedBeatSchedule  # it imports RedBeat

                return RedBeatSchedule(self._app, found)
            case _:
                return None

    def findings(self, config: Config, table: str) -> Sequence[AppFinding]:
        """Return what of the app cannot work here, or works otherwise."""
        return findings.in_whole_file(self._app, config, table)

    def _declared(self) -> Mapping[str, object]:
        """Return what ``beat_schedule`` has, with what Celery's beat adds to it."""
        declared = dict(self._app.conf.beat_schedule or {})
        try:
            scheduler = Scheduler(self._app, lazy=True)
            scheduler.schedule = {}
            scheduler.install_default_entries(declared)
        except Exception as error:  # noqa: BLE001 - the app's backend is made for this
            why = f"{type(error).__name__}: {error}"
            logger.warning("entry celery.backend_cleanup: the app's backend cannot be made: %s", why)
            return declared
        return {**scheduler.schedule, **declared}

    def _entry(self, name: str, declared: object) -> ScheduleEntry:
        if isinstance(declared, ScheduleEntry):
            declared.app = self._app
            return declared
        if not isinstance(declared, Mapping):
            kind = type(declared).__name__
            raise ConfigError(f"it is of type {kind}; expected a dict with task and schedule")
        if missing := [key for key in ("task", "schedule") if not declared.get(key)]:
            raise ConfigError(f"it has no {' and no '.join(missing)}")
        if isinstance(text := declared["schedule"], str):
            raise ConfigError(f'the schedule is the text "{text}"; expected crontab(...) or seconds')
        return ScheduleEntry(**{**declared, "name": name, "app": self._app})
