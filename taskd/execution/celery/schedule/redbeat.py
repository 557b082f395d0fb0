"""The keys of RedBeat as a schedule that changes while beat runs.

RedBeat's own class reads an entry and notes its runs.  Its lock is not taken: while a beat of RedBeat runs
beside ours, both send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redbeat.schedulers import ensure_conf, get_redis

from taskd.base import clock
from taskd.config.schedule import BeatEntryConfig
from taskd.execution.celery.schedule.asking import Asking, declared
from taskd.execution.celery.schedule.scheduling import moment_of, own_kind, when_by, why_of
from taskd.execution.task_app import ScheduleAwayError, ScheduleReading

if TYPE_CHECKING:
    from datetime import datetime

    from celery import Celery

#: How often all keys are read: nothing else says that one has changed.
READ_S = 1.0


class RedBeatSchedule:
    """A ``ChangingSchedule``."""

    def __init__(self, app: Celery, scheduler_class: Any) -> None:
        self._app = app
        self._class = scheduler_class
        ensure_conf(app)
        self._is_set_up = False
        self._read_at = 0.0
        #: The definitions as they lie in Redis, by key.
        self._definitions: dict[str, str] = {}
        self._entries: dict[str, BeatEntryConfig] = {}
        self._since: dict[str, float] = {}
        self._asking = Asking(app)
        self._said: dict[str, str] = {}

    # -- a ChangingSchedule ----------------------------------------------------------------------

    def read(self, *, again: bool) -> ScheduleReading | None:
        """Return the entries if a definition has changed, or one is due by its own class."""
        if again or clock.monotonic() >= self._read_at:
            found = self._found()
            self._read_at = clock.monotonic() + READ_S
            definitions = {key: definition for key, (definition, _meta) in found.items()}
            is_all = again or definitions != self._definitions or not self._is_set_up
            if is_all:
                self._take(found)
                self._definitions = definitions
                self._is_set_up = True
        else:
            is_all = False
        if not (self._asking.ask() or is_all):
            return None
        due = self._asking.due()
        return ScheduleReading(
            {**self._entries, **{name: entry for name, (_at, entry) in due.items()}},
            {**self._since, **{name: at - 1.0 for name, (at, _entry) in due.items()}},
            [
                f'the entry of the key "{key}" does not fire: {why}; mend or delete it'
                for key, why in self._said.items()
            ],
        )

    def ran(self, name: str) -> None:
        """Advance the time and the count of an entry, as RedBeat does when it reserves one."""
        key = self._class.Entry.generate_key(self._app, name)
        try:
            entry = self._class.Entry.from_key(key, app=self._app)
        except KeyError:
            return  # deleted since
        except Exception as error:
            raise _away(error) from error
        try:
            self._asking.ran(name, next(entry))
        except Exception as error:
            raise _away(error) from error

    def wait_s(self) -> float:
        """Return how long no class of an entry's own is to be asked."""
        return self._asking.wait_s()

    # -- reading ---------------------------------------------------------------------------------

    def _found(self) -> dict[str, tuple[str, str | None]]:
        """Return definition and state of each entry, as they lie in Redis."""
        try:
            if not self._is_set_up:
                # As RedBeat at its start: what the code declares is in Redis, too.
                self._class(app=self._app)
            client = get_redis(self._app)
            keys = client.zrange(self._app.redbeat_conf.schedule_key, 0, -1)
            with client.pipeline() as pipe:
                for key in keys:
                    pipe.hmget(key, "definition", "meta")
                found = dict(zip(keys, pipe.execute(), strict=True))
        except Exception as error:
            raise _away(error) from error
        return {key: (definition, meta) for key, (definition, meta) in found.items() if definition}

    def _take(self, found: dict[str, tuple[str, str | None]]) -> None:
        entries: dict[str, BeatEntryConfig] = {}
        since: dict[str, float] = {}
        asked: dict[str, Any] = {}
        said: dict[str, str] = {}
        for key, (definition, meta) in found.items():
            try:
                entry = self._entry(definition, meta)
                name = str(entry.name)
                if not entry.enabled:
                    continue
                if own_kind(entry.schedule) is not None:
                    declared(self._app, entry, moment_of(0.0))  # to be refused now, if at all
                    asked[name] = entry
                else:
                    entries[name] = declared(self._app, entry, when_by(entry.schedule))
                    since[name] = _seconds(entry.last_run_at)
            except Exception as error:  # noqa: BLE001 - the barrier of entries: users wrote them
                said[key] = why_of(error)
        self._said = said
        self._entries = entries
        self._since = since
        self._asking.replace(asked)

    def _entry(self, definition: str, meta: str | None) -> Any:
        kind = self._class.Entry
        state = kind.decode_meta(meta)
        entry = kind(app=self._app, **{**kind.decode_definition(definition), **state})
        entry.last_run_at = state["last_run_at"]  # Celery's class takes None for now
        return entry


def _seconds(last_run_at: datetime | None) -> float:
    return clock.now() if last_run_at is None else last_run_at.timestamp()


def _away(error: Exception) -> ScheduleAwayError:
    return ScheduleAwayError(f"{type(error).__name__}: {error}; look at the Redis of redbeat_redis_url")
