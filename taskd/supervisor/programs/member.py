"""One program as a member of its group: which revision it belongs to, and how it stands."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from taskd.supervisor.model.machine import ALIVE, State
from taskd.supervisor.model.rolling import Standing
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
    is_on_trial: bool = True
    #: The process that was there when the revision last changed, and the revision that it began with.
    _pid: int | None = None
    _born: Revision = field(init=False)
    #: That process is to be told of settings that changed while it goes on.
    _is_untold: bool = False

    def __post_init__(self) -> None:
        """A new member begins with its revision."""
        self._born = self.revision

    @property
    def pid(self) -> int | None:
        """The present process."""
        life = self.program.life
        return life.process.pid if life else None

    @property
    def load(self) -> int:
        """How many tasks it holds, by its last heartbeat."""
        life = self.program.life
        return life.held if life else 0

    @property
    def standing(self) -> Standing:
        """How it stands, for ``rolling``."""
        state = self.program.state
        if self.is_retired:
            return Standing.LEAVING
        if not self.program.wanted:
            return Standing.HELD
        if state in ALIVE:
            return Standing.READY if state is State.READY else Standing.STARTING
        # A job that is over is down on purpose, too.
        return Standing.HELD if self.program.standing().is_over else Standing.ABSENT

    def revisions(self) -> set[Revision]:
        """Return the revisions whose descriptors are still needed for this program."""
        return {self.revision, self._born}

    def move_to(self, revision: Revision, group: str, *, tell: bool) -> None:
        """Become a member of another revision, in place; ``tell`` the process what is new in it."""
        if self.pid != self._pid:
            self._pid, self._born, self._is_untold = self.pid, self.revision, False
        self.program.obey(revision.settings(group, self.slot))
        self.revision = revision
        self._is_untold = self._is_untold or tell

    def pass_on(self) -> None:
        """Tell the process now, if there is something to tell and it listens already."""
        if self._is_untold and self.pid != self._pid:
            self._is_untold = False  # another process, which began with what was to be told
        if self._is_untold and self.program.state is State.READY:
            self._born.hand_on(self.program.spec, self.revision.config)
            self.program.poke(signal.SIGHUP)
            self._is_untold = False
