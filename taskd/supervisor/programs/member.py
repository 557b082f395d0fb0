"""One program as a member of its group: which revision it belongs to, and how it is present."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from taskd.supervisor.model.machine import ALIVE, State
from taskd.supervisor.model.rolling import Presence
from taskd.supervisor.programs.program import Program
from taskd.supervisor.programs.revision import Revision


@dataclass(slots=True, eq=False)
class Member:
    """One program of a group."""

    program: Program
    slot: int
    revision: Revision
    #: To be replaced although its revision is the wanted one.
    is_stale: bool = False
    #: It leaves for good and is forgotten when its process is gone.
    is_retired: bool = False
    #: It has yet to show that it works: its deaths count against the roll.
    is_on_probation: bool = True
    _news: _News = field(init=False)

    def __post_init__(self) -> None:
        """A new member begins with its revision."""
        self._news = _News(self.revision)

    @property
    def name(self) -> str:
        """The name of the program."""
        return self.program.spec.name

    @property
    def load(self) -> int:
        """How many tasks it holds, by its last heartbeat."""
        life = self.program.life
        return life.held if life else 0

    @property
    def presence(self) -> Presence:
        """How it is present, for ``rolling``."""
        state = self.program.state
        if self.is_retired:
            return Presence.LEAVING
        if not self.program.wanted:
            return Presence.HELD
        if state in ALIVE:
            return Presence.READY if state is State.READY else Presence.STARTING
        # A job that is over is down on purpose, too.
        return Presence.HELD if self.program.standing().is_over else Presence.ABSENT

    def fits(self, target: Revision | None) -> bool:
        """Whether it is as it is wanted, not one that is to be replaced."""
        return self.revision is target and not self.is_stale

    def revisions(self) -> set[Revision]:
        """Return the revisions whose descriptors are still needed for this program."""
        return {self.revision, self._news.born}

    def move_to(self, revision: Revision, group: str, *, tell: bool) -> None:
        """Become a member of another revision, in place; ``tell`` the process what is new in it."""
        self._news.note(_pid(self.program), self.revision, tell=tell)
        self.program.obey(revision.settings(group, self.slot))
        self.revision = revision

    def tell_news(self) -> None:
        """Tell the process now, if there is something to tell and it listens already."""
        if self._news.are_due(_pid(self.program)) and self.program.state is State.READY:
            self._news.born.hand_on(self.program.spec, self.revision.config)
            self.program.poke(signal.SIGHUP)
            self._news.is_untold = False


@dataclass(slots=True)
class _News:
    """The changed settings that a process which goes on is to be told.

    ``born``: the revision that the process ``pid`` began with.
    """

    born: Revision
    pid: int | None = None
    is_untold: bool = False

    def note(self, pid: int | None, present: Revision, *, tell: bool) -> None:
        """The program leaves the revision ``present``, perhaps with a process to be told."""
        if pid != self.pid:
            self.pid = pid
            self.born = present
            self.is_untold = False
        self.is_untold = self.is_untold or tell

    def are_due(self, pid: int | None) -> bool:
        """Whether the process is to be told; another process began with what was to be told."""
        self.is_untold = self.is_untold and pid == self.pid
        return self.is_untold


def _pid(program: Program) -> int | None:
    return program.life.process.pid if program.life else None
