"""Learn what the apps declare: each app is imported in a process of its own, while beat works.

A process tells what the code declares, and ends.  Where the schedule of an app can change (the tables of
django_celery_beat), it stays, tells of each change, and hears which runs were sent.

Beat imports an app only where it has the user of the app's workers.  Else their code would run as beat's
user, or they would have to let that one read it.

An app that cannot be imported is an error in the log, and is tried again every ``AGAIN_S``.  It holds up
neither the entries of the others nor the other sources.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile

import msgspec

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.lifecycle import Deadline, OneLife
from taskd.base.loop import Loop, LoopTimer
from taskd.base.nearest import nearest
from taskd.beat.app_process import AppPlace, AppProcess
from taskd.beat.stores.base import Declared
from taskd.config.schedule import BeatEntryConfig
from taskd.config.schema import Config

AGAIN_S = 60.0
#: An import that takes longer hangs, and so does a process that is silent for longer.
LONGEST_S = 60.0
#: The time that a process has at the end, to note the last runs.
LAST_S = 1.0
#: Names of runs that are kept for a process that is away.
_MOST_OWED = 10_000

logger = logging.getLogger(__name__)


def places_of(config: Config) -> list[AppPlace]:
    """Return the apps of all workers, each once."""
    found: list[AppPlace] = []
    for worker in config.workers.values():
        place = AppPlace(
            worker.app or config.app,
            worker.directory,
            worker.environment,
            worker.interpreter,
            worker.user,
            config.beat.scheduler,
        )
        if place not in found:
            found.append(place)
    return found


@dataclass(frozen=True, slots=True)
class _Reading(Declared):
    """One line of a process."""

    #: The process stays, because its schedule can change.
    changing: bool = False
    #: Why the schedule cannot be read now; then there are no entries in the line.
    problem: str = ""


@dataclass(slots=True)
class _App:
    """One app, and what is known of it."""

    place: AppPlace
    process: AppProcess | None = None
    known: _Reading | None = None
    timer: LoopTimer | None = None
    problem: str = ""
    #: Whether it was read, or cannot be: then later apps of the file need not wait for it.
    is_settled: bool = False
    #: Whether the present process has told anything.
    has_told: bool = False
    failures: int = 0
    #: Entries of which a run was sent while no process could hear of it.
    owed: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_OWED))


class AppSource:
    """Reads the apps at some places and tells of all that it knows whenever that has changed."""

    def __init__(
        self,
        loop: Loop,
        places: Sequence[AppPlace],
        learned: Callable[[Declared], None],
        *,
        again_s: float = AGAIN_S,
        longest_s: float = LONGEST_S,
    ) -> None:
        self._loop = loop
        self._apps = [_App(place) for place in places]
        self._learned = learned
        self._again_s = again_s
        self._again = Backoff(base_s=min(1.0, again_s), max_s=again_s, floor_s=min(0.2, again_s))
        self._longest_s = longest_s
        self._life = OneLife()
        self._hidden: Mapping[str, Sequence[str]] = {}

    def start(self) -> None:
        """Begin to read every app; returns at once."""
        if not self._life.begin():
            return
        for app in self._apps:
            self._read(app)

    def quiet(self) -> None:
        """Begin no further reading, and finish the present ones."""
        self._life.calm()
        self._cancel_timers()

    def stop(self, deadline: Deadline) -> None:
        """Let the processes of changing schedules note the last runs, and end all readings."""
        for app in self._apps:
            if app.process is not None and app.has_told:
                self._tell_owed(app)
                app.process.leave(LAST_S)
        self.kill()

    def kill(self) -> None:
        """End the readings under way."""
        self._life.end()
        self._cancel_timers()
        for app in self._apps:
            if app.process is not None:
                app.process.stop_listening()
                app.process.kill()
                app.process.end()
                app.process = None

    def ran(self, names: Collection[str]) -> None:
        """Tell the processes of changing schedules that runs of these entries were sent.

        Of several workers with one app, each of which is a place of its own, one process hears of a run.
        """
        left = list(names)
        for app in self._apps:
            if app.known is None:  # its entries are those of an earlier life of beat
                app.owed += left
                continue
            if app.known.changing:
                app.owed += [name for name in left if name in app.known.entries]
                self._tell_owed(app)
            left = [name for name in left if name not in app.known.entries]

    # -- one app ---------------------------------------------------------------------------------

    def _read(self, app: _App) -> None:
        if not self._life.takes:
            return
        if app.place.is_anothers():
            app.is_settled = True
            # Without it the names of all tasks are not known, so nobody is warned of unknown ones.
            logger.warning(
                'the entries of app %s are not read: its worker runs as "%s", but beat does not; put them '
                "into [beat.schedule], or give [beat] the same user",
                app.place.app,
                app.place.user,
            )
            return
        app.has_told = False
        app.process = AppProcess(
            self._loop,
            app.place,
            heard=partial(self._hear, app),
            ended=partial(self._end, app),
            longest_s=self._longest_s,
        )

    def _hear(self, app: _App, line: bytes) -> None:
        assert app.process is not None, "only a process that lives is heard"
        try:
            reading = msgspec.json.decode(line, type=_Reading)
        except ValueError as error:
            logger.error("app %s: a line of its process cannot be read: %s", app.place.app, error)
            app.process.kill()
            return
        app.has_told = True
        app.is_settled = True
        if reading.problem:
            app.problem = reading.problem
            logger.error(
                "the schedule of app %s cannot be read, its entries of the last reading go on: %s",
                app.place.app,
                reading.problem,
            )
        else:
            if app.problem:
                logger.info("the schedule of app %s is read again", app.place.app)
            app.problem = ""
            for each in reading.problems:
                if app.known is None or each not in app.known.problems:
                    logger.error("app %s: %s", app.place.app, each)
            app.known = reading
            if not reading.changing:
                app.owed.clear()
        self._tell_all()
        self._tell_owed(app)

    def _end(self, app: _App, status: int) -> None:
        assert app.process is not None, "only a process that lives can end"
        lived_s = clock.monotonic() - app.process.began_at
        app.process = None
        if not app.is_settled:
            app.is_settled = True
            self._tell_all()
        is_changing = app.known is not None and app.known.changing
        if status == 0 and app.has_told and not is_changing:
            return
        app.failures = 1 if lived_s > self._again_s else app.failures + 1
        # Code that cannot be imported needs a person, a process that was killed does not.
        again_s = self._again.delay_s(app.failures) if app.has_told else self._again_s
        logger.error(
            "the entries of app %s are not known, next try in %g s: its process ended with status %d; the "
            "log above says why",
            app.place.app,
            again_s,
            status,
        )
        if self._life.takes:
            app.timer = self._loop.call_later(again_s, partial(self._read, app))

    def _tell_owed(self, app: _App) -> None:
        if app.process is not None and app.has_told and app.owed:
            app.process.tell(msgspec.json.encode(list(app.owed)) + b"\n")
            app.owed.clear()

    def _tell_all(self) -> None:
        """Tell of all that is known, if anything is, and log the entries that are newly hidden."""
        if all(app.known is None for app in self._apps):
            return
        # An entry of a later app would be in force until an earlier one is read, and then never again.
        settled = takewhile(lambda app: app.is_settled, self._apps)
        known = [(app.place, app.known) for app in settled if app.known is not None]
        declared, first = _together(known)
        for name, places in declared.hidden.items():
            for place in places:
                if place not in self._hidden.get(name, ()):
                    logger.warning(
                        "the entry of app %s does not fire entry=%s: that of app %s counts, which the file "
                        "names first; give one of them another name",
                        place,
                        name,
                        first[name],
                    )
        self._hidden = declared.hidden
        declared = replace(declared, problems=self._problems())
        if len(known) < len(self._apps):
            # Half of the names would make the other half look wrong.
            declared = replace(declared, tasks=frozenset())
        self._learned(declared)

    def _problems(self) -> Sequence[str]:
        """Return what cannot fire or be read, each once: several workers may have one app."""
        found: dict[str, None] = {}
        for app in self._apps:
            if app.problem:
                found[f"app {app.place}: its schedule cannot be read: {app.problem}"] = None
            for each in app.known.problems if app.known is not None else ():
                found[f"app {app.place}: {each}"] = None
        return tuple(found)

    def _cancel_timers(self) -> None:
        for app in self._apps:
            if app.timer is not None:
                app.timer.cancel()


def _together(known: Iterable[tuple[AppPlace, Declared]]) -> tuple[Declared, Mapping[str, AppPlace]]:
    """Return the declarations of several apps as one, and where each entry is from: the first one counts.

    One app of several workers declares the same entry again and again, which hides nothing.
    """
    entries: dict[str, BeatEntryConfig] = {}
    since: dict[str, float] = {}
    first: dict[str, AppPlace] = {}
    hidden: dict[str, list[str]] = {}
    tasks: set[str] = set()
    for place, declared in known:
        tasks |= declared.tasks
        for name, entry in declared.entries.items():
            if name not in first:
                first[name] = place
                entries[name] = entry
                if name in declared.since:
                    since[name] = declared.since[name]
            elif str(place) != str(first[name]) or entry != entries[name]:
                hidden.setdefault(name, []).append(str(place))
    return Declared(entries, frozenset(tasks), since, hidden), first


def warn_of_unknown_tasks(entries: Iterable[BeatEntryConfig], tasks: Collection[str]) -> None:
    """Log the entries whose task no app has, with the nearest name; no names at all mean not known."""
    for entry in entries if tasks else ():
        if entry.task not in tasks:
            hint = nearest(entry.task, tasks)
            suffix = f'; did you mean "{hint}"?' if hint else ""
            logger.warning('no app has the task entry=%s task="%s"%s', entry.name, entry.task, suffix)
