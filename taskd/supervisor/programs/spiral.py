"""Notices that killing does not help: a program is killed many times in a row and gets nothing done.

A pure decider.  Killing a process that hangs helps if its successor works.  If several in a row were killed
and not one task was finished in between, the cause lies elsewhere.  A network may be so slow that no start
can be in time, or a disk hangs.  Further kills then only add load and throw away work that was begun.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Spiral:
    """Kills of one program since it last got something done.  Times are monotonic seconds."""

    _kills: deque[float] = field(default_factory=deque)
    _done: int = 0

    def killed(self, now: float) -> None:
        """Note a kill of a process that hung."""
        self._kills.append(now)
        self._done = 0

    def spared(self) -> None:
        """Take the last kill back: the process reported again in time."""
        if self._kills:
            self._kills.pop()

    def heard(self, done: int) -> bool:
        """Note how many tasks the present process has finished; True when that ends a spiral."""
        progressed = done > self._done
        self._done = done
        if progressed and self._kills:
            self._kills.clear()
            return True
        return False

    def allows(self, now: float, *, kills: int, period_s: float) -> bool:
        """Return whether one more kill may help: fewer than ``kills`` within ``period_s`` were in vain.

        ``kills`` 0 always allows.  Old kills are forgotten, so that after a while one more is tried.
        """
        while self._kills and self._kills[0] <= now - period_s:
            self._kills.popleft()
        return not kills or len(self._kills) < kills

    def forgive(self) -> None:
        """Forget everything: an operator asked for a start."""
        self._kills.clear()
