"""Reloading: read and check the file, plan, aim the fleet at it, and say how it went.

A file that is not sound changes nothing.  A reload that comes while another is under way takes over at once.
The fleet is aimed anew and goes on from where it stands, so neither waits and neither is refused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum

from taskd.config.load import check
from taskd.config.problems import ProblemSeverity
from taskd.config.schema import Config
from taskd.supervisor.model.plan import Action, ReloadPlan, plan
from taskd.supervisor.model.reach import Reach, reach_of
from taskd.supervisor.model.roster import CommandTable
from taskd.supervisor.programs.fleet import Fleet
from taskd.supervisor.programs.revision import Revision
from taskd.supervisor.reload.former import FormerBrokers
from taskd.supervisor.reload.half_written import is_being_written

_log = logging.getLogger(__name__)


class ReloadOutcome(Enum):
    """How the latest reload fares."""

    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"  # the file was refused, or a group went back to what it had


@dataclass(frozen=True, slots=True)
class Read:
    """The present content of the file: a configuration, unless its problems forbid it."""

    config: Config | None
    problems: tuple[str, ...]
    errors: tuple[str, ...]


class Reloader:
    """Holds the revisions.  For the loop's thread; nothing here blocks but the reading of the file."""

    def __init__(
        self,
        config: Config,
        table: CommandTable,
        fleet: Fleet,
        *,
        begun: Callable[[], None],
        apply_live: Callable[[Config], None],
    ) -> None:
        """``begun`` is called when a reload begins, ``apply_live`` with what the daemon itself obeys."""
        self.current = Revision(1, config, table)
        self._sound = self.current
        self.outcome = ReloadOutcome.DONE
        self.troubles: tuple[str, ...] = ()
        #: How far the latest reload came that failed.
        self.reach = Reach()
        self._number = 1
        self._table = table
        self._fleet = fleet
        self._begun = begun
        self._apply_live = apply_live
        self._revisions = {self.current}
        self._concerned: frozenset[str] = frozenset()
        self._former = FormerBrokers(config.supervisor.state_directory)

    @property
    def under_way(self) -> bool:
        """Whether programs are still being added, replaced or removed."""
        return self.outcome is ReloadOutcome.UNDER_WAY

    def plan(self) -> Mapping[str, object]:
        """Return what a reload would do now, and do nothing."""
        read = self._read()
        if read.config is None:
            return self._answer(read, None)
        note = self._former.note(self.current.config, read.config)
        return self._answer(read, self._planned(read.config), note)

    def reload(self, why: str) -> Mapping[str, object]:
        """Take the file over, if it is sound; return the plan that is carried out, or every problem."""
        self._begun()
        read = self._read()
        try:
            return self._take_over(read, why)
        except Exception as error:  # noqa: BLE001 - a barrier: a reload never ends the daemon
            _log.exception("reload (%s) refused for an unforeseen error", why)
            return self._refuse(read, f"{self.current.config.path}: internal error: {_in_words(error)}")

    def _refuse(self, read: Read, trouble: str) -> Mapping[str, object]:
        """Go on with what ran before: the fleet is aimed at it again, if it was aimed at anything else."""
        sound = self._sound
        if self.current is not sound:
            self.current = sound
            self._apply_live(sound.config)
            self._fleet.aim(sound, reason=f"back to revision {sound.number}: {trouble}")
        self.outcome = ReloadOutcome.FAILED
        self.troubles = (trouble,)
        self.reach = Reach()
        return self._answer(Read(None, (*read.problems, trouble), (trouble,)), None)

    def _take_over(self, read: Read, why: str) -> Mapping[str, object]:
        for problem in read.problems:
            (_log.error if problem in read.errors else _log.warning)("reload: %s", problem)
        if read.config is None:
            _log.error("reload (%s) refused, nothing was changed: correct the file and reload again", why)
            if not self.under_way:
                self.outcome = ReloadOutcome.FAILED
                self.reach = Reach()
            self.troubles = read.errors
            return self._answer(read, None)
        decided = self._planned(read.config)
        note = self._former.note(self.current.config, read.config)
        self._former.replace(self.current.config, read.config)
        self._sound = self.current
        self._number += 1
        self.current = Revision(self._number, read.config, self._table)
        self._revisions.add(self.current)
        unfinished = self._concerned if self.under_way else frozenset()
        self._concerned = decided.concerned() | unfinished
        self.outcome = ReloadOutcome.UNDER_WAY
        self.troubles = ()
        _log.info("reload (%s) revision=%s: %s", why, self._number, _summary(decided))
        self._apply_live(read.config)
        self._fleet.aim(self.current, reason=f"reload, revision {self._number}")
        self._sound = self.current
        return self._answer(read, decided, note)

    def turn(self) -> bool:
        """Look whether the reload is over; return whether it has ended just now."""
        # Also after its end: programs that it replaced may drain for long.
        if len(self._revisions) > 1:
            self._drop_unneeded()
        if not self.under_way:
            return False
        groups = [group for group in self._fleet.groups() if group.name in self._concerned]
        troubled = {group.name: group.trouble for group in groups if group.trouble}
        if any(not group.settled and not group.trouble for group in groups):
            return False
        self.outcome = ReloadOutcome.FAILED if troubled else ReloadOutcome.DONE
        self.troubles = tuple(f"{name}: {trouble}" for name, trouble in troubled.items())
        self.reach = reach_of(self._concerned, [group.name for group in groups], troubled)
        level = logging.ERROR if troubled else logging.INFO
        suffix = f": {self.reach}: {'; '.join(self.troubles)}" if troubled else ""
        _log.log(level, "reload revision=%s %s%s", self.current.number, self.outcome.value, suffix)
        return True

    def row(self) -> Mapping[str, object]:
        """Return how the latest reload fares, for ``taskctl status``."""
        return {
            "generation": self.current.number,
            "outcome": self.outcome.value,
            "troubles": self.troubles,
            **(asdict(self.reach) if self.outcome is ReloadOutcome.FAILED else {}),
            "former_brokers": self._former.rows(),
        }

    def close(self) -> None:
        """Give the descriptors back."""
        for revision in self._revisions:
            revision.close()

    def _drop_unneeded(self) -> None:
        needed = self._fleet.revisions() | {self.current}
        for revision in self._revisions - needed:
            revision.close()
        self._revisions &= needed

    def _planned(self, config: Config) -> ReloadPlan:
        return plan(self._fleet.running(), self.current.config, config)

    def _read(self) -> Read:
        path = self.current.config.path
        if refusal := _refusal(path):
            return Read(None, (refusal,), (refusal,))
        try:
            config, problems = check(path, machine=True)
        except Exception as error:  # noqa: BLE001 - a barrier: a file never ends the daemon that reads it
            _log.exception("reload: %s could not be checked for an unforeseen error", path)
            trouble = f"{path}: it could not be checked: internal error: {_in_words(error)}"
            return Read(None, (trouble,), (trouble,))
        texts = tuple(str(problem) for problem in problems)
        errors = tuple(str(problem) for problem in problems if problem.severity is ProblemSeverity.ERROR)
        return Read(config, texts, errors)

    def _answer(self, read: Read, decided: ReloadPlan | None, note: str = "") -> Mapping[str, object]:
        return {
            "file": self.current.config.path,
            "generation": self.current.number,
            "ok": decided is not None,
            "problems": read.problems,
            "programs": [
                {"name": each.program, "group": each.group, "action": each.action.value, "why": each.why}
                for each in (decided.decisions if decided else ())
            ],
            "changes": [str(change) for change in (decided.changes if decided else ())],
            "notes": [note] if note else [],
            "needs_restart": [str(change) for change in (decided.needs_restart if decided else ())],
        }


def _in_words(error: Exception) -> str:
    return f"{' '.join(f'{type(error).__name__}: {error}'.split())}; the log of taskd has the traceback"


def _summary(decided: ReloadPlan) -> str:
    counts = [
        f"{action.value}={number}"
        for action in Action
        if (number := sum(each.action is action for each in decided.decisions))
    ]
    return " ".join(counts) or "no programs"


def _refusal(path: str) -> str:
    """Return why the file is not even read; an empty text when it is."""
    if os.path.exists(path) and not os.path.isfile(path):
        # The start may have read it from a pipe; to open that again could wait for ever.
        return f"{path}: not a regular file, so it cannot be read again; start taskd with one to reload it"
    if is_being_written(path):
        return f"{path}: somebody is writing this file; reload when it is written"
    return ""
