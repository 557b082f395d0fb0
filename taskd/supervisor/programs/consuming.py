"""Alive but not consuming: heartbeats come and messages wait, yet nothing runs and nothing gets done.

A pure decider over the heartbeats of one process.  A worker looks at itself, too, and sooner; this is for the
one whose own look is wrong.  It is not killed for it, as the next one would see the same queue: it is shown,
and does not count as ready.
"""

from __future__ import annotations

from dataclasses import dataclass

from taskd.base.plural import counted
from taskd.protocol.status import Heartbeat

#: Four times what the worker itself needs to notice and to start anew; two heartbeats of an idle one.
PATIENCE_S = 40.0


@dataclass(slots=True)
class Consuming:
    """The facts that the heartbeats so far have shown; times are monotonic seconds."""

    _since: float | None = None
    _done: int = 0

    def heard(self, load: Heartbeat, now: float) -> str:
        """Take in a heartbeat; return in words what is wrong, empty for nothing."""
        works = load.busy or load.reserved or load.done != self._done
        self._done = load.done
        if works or load.quiet or not load.depth:
            self._since = None
            return ""
        if self._since is None:
            self._since = now
        if now - self._since < PATIENCE_S:
            return ""
        waits = counted(load.depth, "message waits", "messages wait")
        return f"alive but not consuming: {waits}, and nothing runs or gets done"
