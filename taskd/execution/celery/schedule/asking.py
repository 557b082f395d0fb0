"""Entries whose own class says when they are due: it is asked here, when it said that it wants to be."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskd.base import clock
from taskd.execution.celery.schedule.destination import Send
from taskd.execution.celery.schedule.scheduling import entry_of, moment_of, why_of

if TYPE_CHECKING:
    from celery import Celery

    from taskd.config.schedule import BeatEntryConfig, WhenConfig

#: How often a class is asked that does not say when to ask it again, and one whose answer was an error.
ASK_AGAIN_S = 5.0
ASK_FAILED_S = 60.0
_LEAST_S = 0.05

logger = logging.getLogger(__name__)


def declared(app: Celery, entry: Any, when: WhenConfig) -> BeatEntryConfig:
    """Return an entry of Celery's with a schedule of ours.  Raises: ``ConfigError``."""
    send = Send(entry.task, entry.args or (), entry.kwargs or {}, entry.options or {})
    return entry_of(app, str(entry.name), when, send)


@dataclass(slots=True)
class _Asked:
    """One entry, an object of the scheduler's class ``Entry``."""

    entry: Any
    ask_at: float = 0.0
    #: The wall-clock second at which it was found due, until beat has sent it.
    due_at: float | None = None


class Asking:
    """All entries of one schedule that are asked."""

    def __init__(self, app: Celery, passing: tuple[type[Exception], ...] = ()) -> None:
        """``passing``: errors that concern the schedule, and not the class that raises them."""
        self._app = app
        self._passing = passing
        self._asked: dict[str, _Asked] = {}

    def replace(self, entries: dict[str, Any]) -> None:
        """Ask these from now on; one that was found due stays due, if its class still says so."""
        former = self._asked
        self._asked = {}
        for name, entry in entries.items():
            due_at = former[name].due_at if name in former else None
            is_due = due_at is not None and self._is_due(name, entry)[0]
            self._asked[name] = _Asked(entry, due_at=due_at if is_due else None)

    def ask(self) -> bool:
        """Ask the classes whose time has come; return True when an entry is found due."""
        found = False
        for name, asked in self._asked.items():
            if asked.due_at is None and clock.monotonic() >= asked.ask_at:
                is_due, wait_s = self._is_due(name, asked.entry)
                asked.ask_at = clock.monotonic() + wait_s
                if is_due:
                    asked.due_at = clock.now()
                    found = True
        return found

    def due(self) -> dict[str, tuple[float, BeatEntryConfig]]:
        """Return the entries that are due, by name, each with the moment and its one run then."""
        return {
            name: (each.due_at, declared(self._app, each.entry, moment_of(each.due_at)))
            for name, each in self._asked.items()
            if each.due_at is not None
        }

    def ran(self, name: str, entry: Any) -> None:
        """Go on with the entry as it is after its run."""
        if name in self._asked:
            self._asked[name] = _Asked(entry, self._asked[name].ask_at)

    def wait_s(self) -> float:
        """Return how long none is to be asked."""
        now = clock.monotonic()
        waits = [each.ask_at - now for each in self._asked.values() if each.due_at is None]
        return max(min(waits, default=ASK_FAILED_S), 0.0)

    def _is_due(self, name: str, entry: Any) -> tuple[bool, float]:
        try:
            is_due, next_s = entry.is_due()
        except self._passing:
            raise
        except Exception as error:  # noqa: BLE001 - the barrier of entries: their classes are the users'
            why = why_of(error)
            logger.error('entry "%s": its is_due failed, asked again in %g s: %s', name, ASK_FAILED_S, why)
            return False, ASK_FAILED_S
        return bool(is_due), min(max(next_s or ASK_AGAIN_S, _LEAST_S), ASK_FAILED_S)
