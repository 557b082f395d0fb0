"""The tables of django_celery_beat as a schedule that changes while beat runs.

The scheduler's own class reads and writes them: a subclass of the application's has its models, its entries
and its ``is_due``.  This module takes the place of its ticks: it sees changes, and notes runs.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connections
from django.db.utils import Error as DatabaseError

from taskd.base import clock
from taskd.config.schedule import BeatEntryConfig
from taskd.execution.celery.schedule.asking import Asking, declared
from taskd.execution.celery.schedule.rows import THEIRS, row_of
from taskd.execution.celery.schedule.scheduling import moment_of, why_of
from taskd.execution.task_app import ScheduleAwayError, ScheduleReading

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

_T = TypeVar("_T")

#: How often all rows are read though nothing says that they have changed: bulk updates do not.
READ_ALL_S = 300.0
_NO_TABLES = ("no such table", "does not exist", "doesn't exist")

logger = logging.getLogger(__name__)


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
        self._asking = Asking(app, passing=(DatabaseError,))
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
        return self._asking.wait_s()

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
        is_due = self._asking.ask()
        if not (is_all or is_due):
            return None
        due = self._asking.due()
        return ScheduleReading(
            {**self._entries, **{name: entry for name, (_at, entry) in due.items()}},
            {**self._since, **{name: at - 1.0 for name, (at, _entry) in due.items()}},
            [self._in_words(name, why) for name, why in self._said.items()],
        )

    def _in_words(self, name: str, why: str) -> str:
        table = self._class.Model._meta.db_table
        return f'row "{name}" of {table} does not fire: {why}; mend or disable the row'

    def _read_rows(self) -> None:
        entries: dict[str, BeatEntryConfig] = {}
        since: dict[str, float] = {}
        asked: dict[str, Any] = {}
        said: dict[str, str] = {}
        for model in self._models():
            name = str(model.name)
            try:
                row = row_of(self._app, self._class.Entry, model)
                if _is_over(model):
                    row.entry.is_due()  # it disables the row
                elif row.when is None:
                    declared(self._app, row.entry, moment_of(0.0))  # to be refused now, if at all
                    asked[name] = row.entry
                else:
                    entries[name] = declared(self._app, row.entry, row.when)
                    since[name] = row.since
            except DatabaseError:
                raise
            except Exception as error:  # noqa: BLE001 - the barrier of rows: users wrote them
                said[name] = why_of(error)
        self._said = said
        self._entries = entries
        self._since = since
        self._asking.replace(asked)

    def _models(self) -> list[Any]:
        """Return the enabled rows, by the application's own way if it has one.

        That of django_celery_beat leaves out rows that are not due within hours, which beat plans.
        """
        for name in ("enabled_models", "enabled_models_qs"):
            method = getattr(self._class, name, None)
            if method is not None and not method.__module__.startswith(THEIRS):
                return list(self._scheduler.enabled_models())
        return list(self._class.Model.objects.enabled())

    # -- noting runs -----------------------------------------------------------------------------

    def _ran(self, name: str) -> None:
        model = self._class.Model._default_manager.filter(name=name).first()
        if model is None:
            return  # deleted since
        try:
            entry = next(row_of(self._app, self._class.Entry, model).entry)
            entry.save()
            if _is_over(entry.model):
                self._class.Entry(entry.model, app=self._app).is_due()  # it disables the row
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - the barrier of rows: users wrote them
            logger.error('row "%s": its run was sent and is not noted in it: %s', name, why_of(error))
            return
        self._asking.ran(name, entry)

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
