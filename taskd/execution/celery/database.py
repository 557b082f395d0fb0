"""The tables of django_celery_beat as a schedule that changes while beat runs.

The scheduler's own class reads and writes them: a subclass of the application's has its models, its entries
and its ``is_due``.  This module takes the place of its ticks: it sees changes, and notes runs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connections
from django.db.utils import Error as DatabaseError

from taskd.base import clock
from taskd.base.errors import ConfigError
from taskd.config.schedule import BeatEntryConfig
from taskd.execution.celery.rows import THEIRS, Row, row_of, when_of_moment
from taskd.execution.celery.scheduling import why_of
from taskd.execution.task_app import ScheduleReading

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

_T = TypeVar("_T")

#: How often all rows are read though nothing says that they have changed: bulk updates do not.
READ_ALL_S = 300.0
#: How often a class is asked that does not say when to ask it again, and one whose answer was an error.
ASK_AGAIN_S = 5.0
ASK_FAILED_S = 60.0
_LEAST_S = 0.05
_NO_TABLES = ("no such table", "does not exist", "doesn't exist")

logger = logging.getLogger(__name__)


class ScheduleAwayError(Exception):
    """The tables cannot be read or written; the text is for operators."""


@dataclass(slots=True)
class _Asked:
    """A row whose own class says when it is due."""

    row: Row
    ask_at: float = 0.0
    #: The wall-clock second at which it was found due, until beat has sent it.
    due_at: float | None = None


class DatabaseSchedule:
    """A ``ChangingSchedule``."""

    def __init__(self, app: Celery, scheduler_class: Any) -> None:
        self._app = app
        self._class = scheduler_class
        #: The property reads all rows, and disables those that it cannot read.
        plain = type(scheduler_class.__name__, (scheduler_class,), {"schedule": None})
        self._scheduler = plain(app=app, lazy=True)
        self._scheduler.schedule = {}
        self._is_set_up = False
        self._last_change: object = None
        self._read_all_at = 0.0
        self._entries: dict[str, BeatEntryConfig] = {}
        self._since: dict[str, float] = {}
        self._asked: dict[str, _Asked] = {}
        self._said: dict[str, str] = {}

    # -- a ChangingSchedule ----------------------------------------------------------------------

    def read(self, *, again: bool) -> ScheduleReading | None:
        """Return the enabled rows if they have changed, or one of them is due by its own class."""
        return self._with_database(lambda: self._read(again))

    def ran(self, name: str) -> None:
        """Advance the row's time and count, as Celery does when it reserves an entry."""
        self._with_database(lambda: self._ran(name))

    def wait_s(self) -> float:
        """Return how long no class of a row's own is to be asked."""
        now = clock.monotonic()
        waits = [each.ask_at - now for each in self._asked.values() if each.due_at is None]
        return max(min(waits, default=ASK_FAILED_S), 0.0)

    # -- reading ---------------------------------------------------------------------------------

    def _read(self, again: bool) -> ScheduleReading | None:
        last_change = self._class.Changes.last_change()
        if not self._is_set_up:
            # Celery's beat does so at each start: what the code declares is in the tables, too.
            self._scheduler.setup_schedule()
            self._is_set_up = True
            last_change = self._class.Changes.last_change()
        is_all = again or last_change != self._last_change or clock.monotonic() >= self._read_all_at
        if is_all:
            self._read_rows()
            self._last_change = last_change
            self._read_all_at = clock.monotonic() + READ_ALL_S
        is_due = self._ask()
        if not (is_all or is_due):
            return None
        due = {name: each for name, each in self._asked.items() if each.due_at is not None}
        entries = dict(self._entries)
        since = dict(self._since)
        for name, each in due.items():
            assert each.due_at is not None
            entries[name] = each.row.declared(self._app, when_of_moment(each.due_at))
            since[name] = each.due_at - 1.0
        return ScheduleReading(entries, since)

    def _read_rows(self) -> None:
        entries: dict[str, BeatEntryConfig] = {}
        since: dict[str, float] = {}
        asked: dict[str, _Asked] = {}
        said: dict[str, str] = {}
        for model in self._models():
            name = str(model.name)
            try:
                row = row_of(self._app, self._class.Entry, model)
                if _is_over(model):
                    row.entry.is_due()  # it disables the row
                elif row.when is None:
                    row.declared(self._app, when_of_moment(0.0))  # to be refused now, if at all
                    asked[name] = self._asked_before(name, row)
                else:
                    entries[name] = row.declared(self._app, row.when)
                    since[name] = row.since
            except DatabaseError:
                raise
            except Exception as error:  # noqa: BLE001 - the barrier of rows: users wrote them
                said[name] = why_of(error)
        for name, why in said.items():
            if self._said.get(name) != why:
                table = self._class.Model._meta.db_table
                logger.error('row "%s" of %s does not fire: %s; mend or disable the row', name, table, why)
        self._said = said
        self._entries = entries
        self._since = since
        self._asked = asked

    def _models(self) -> list[Any]:
        """Return the enabled rows, by the application's own way if it has one.

        That of django_celery_beat leaves out rows that are not due within hours, which beat plans.
        """
        for name in ("enabled_models", "enabled_models_qs"):
            method = getattr(self._class, name, None)
            if method is not None and not method.__module__.startswith(THEIRS):
                return list(self._scheduler.enabled_models())
        return list(self._class.Model.objects.enabled())

    def _asked_before(self, name: str, row: Row) -> _Asked:
        """Return how far a row is; one that was found due before is due still, if its class says so."""
        former = self._asked.get(name)
        due_at = None if former is None else former.due_at
        return _Asked(row, due_at=due_at if due_at is not None and row.entry.is_due()[0] else None)

    def _ask(self) -> bool:
        """Ask the rows' own classes whose time has come; return True when one says that it is due."""
        found = False
        for name, asked in self._asked.items():
            if asked.due_at is not None or clock.monotonic() < asked.ask_at:
                continue
            try:
                is_due, next_s = asked.row.entry.is_due()
            except DatabaseError:
                raise
            except Exception as error:  # noqa: BLE001 - the barrier of rows: their classes are the users'
                why = f"{type(error).__name__}: {error}"
                logger.error('row "%s": its is_due failed, asked again in %g s: %s', name, ASK_FAILED_S, why)
                asked.ask_at = clock.monotonic() + ASK_FAILED_S
                continue
            asked.ask_at = clock.monotonic() + min(max(next_s or ASK_AGAIN_S, _LEAST_S), ASK_FAILED_S)
            if is_due:
                asked.due_at = clock.now()
                found = True
        return found

    # -- noting runs -----------------------------------------------------------------------------

    def _ran(self, name: str) -> None:
        model = self._class.Model._default_manager.filter(name=name).first()
        if model is None:
            return  # deleted since
        try:
            row = row_of(self._app, self._class.Entry, model)
        except ConfigError:
            return  # changed since; the next reading says so
        entry = next(row.entry)
        entry.save()
        if _is_over(entry.model):
            self._class.Entry(entry.model, app=self._app).is_due()  # it disables the row
        if name in self._asked:
            self._asked[name] = _Asked(Row(entry, None, clock.now()), self._asked[name].ask_at)

    def _with_database(self, action: Callable[[], _T]) -> _T:
        """Do something with the database; a connection that was cut is opened anew once.

        Raises: ``ScheduleAwayError``, with the remedy.
        """
        try:
            return action()
        except DatabaseError:
            connections.close_all()
        try:
            return action()
        except DatabaseError as error:
            connections.close_all()
            raise ScheduleAwayError(_in_words(error)) from error


def _is_over(model: Any) -> bool:
    """Whether a row is enabled that Celery disables when it looks at it."""
    is_expired = model.expires is not None and model.expires.timestamp() <= clock.now()
    is_once = model.one_off or getattr(model, "clocked_id", None) is not None
    return is_expired or (is_once and model.total_run_count > 0)


def _in_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    if any(each in text for each in _NO_TABLES):
        return f"{text}; run `manage.py migrate django_celery_beat`"
    return f"{type(error).__name__}: {text}; is the database of Django's settings up?"
