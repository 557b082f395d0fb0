"""The known facts about one process of a program, from its start to its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from taskd.base import clock
from taskd.protocol.status import (
    ChildDied,
    Draining,
    Heartbeat,
    LastWords,
    LinesLost,
    Ready,
    StatusLine,
    Waiting,
)
from taskd.supervisor.model.machine import LifeEvent
from taskd.supervisor.model.roster import ProgramSpec
from taskd.supervisor.model.rows import WAITS
from taskd.supervisor.output.capture import Capture
from taskd.supervisor.process.background import Background
from taskd.supervisor.process.reaper import Exit
from taskd.supervisor.process.spawn import Process
from taskd.supervisor.process.status_pipe import StatusPipe
from taskd.supervisor.programs.consuming import Consuming


@dataclass(frozen=True, slots=True)
class SilenceLimits:
    """How long a program may be silent; seconds, and 0 for ``heartbeat_timeout_s`` means for ever."""

    start_timeout_s: float
    heartbeat_timeout_s: float
    #: After this many kills within the period that finished no task no more follow; 0: kills go on.
    spiral_kills: int = 0
    spiral_period_s: float = 600.0


@dataclass(slots=True)
class ProcessLife:
    """One process; ``spec`` says how it was started, ``heard`` and ``ready_since`` are monotonic seconds."""

    spec: ProgramSpec
    process: Process
    pipe: StatusPipe
    capture: Capture
    heard: float
    ready_since: float | None = None
    waiting: str = ""
    words: LastWords | None = None
    started_at: float = field(default_factory=clock.now)
    began: float = field(default_factory=clock.monotonic)
    #: Why it counts as hung, and the number of the last line of output before it was asked for its stacks.
    hang: str = ""
    stack_from: int = 0
    #: In which it starts, perhaps.
    background: Background | None = None
    #: It was told to take nothing new for now.
    quiet: bool = False
    load: Heartbeat = field(default_factory=Heartbeat)
    #: When that came (monotonic).
    load_heard: float = 0.0
    #: How it ended, once it is reaped.
    ended: Exit | None = None
    _consuming: Consuming = field(default_factory=Consuming)
    #: It counts as waiting because it does not consume.
    _idles: bool = False
    #: Hears of each pool child that died.
    on_child_died: Callable[[ChildDied], None] = lambda _line: None

    @property
    def held(self) -> int:
        """How many tasks it runs or keeps, by its last heartbeat."""
        return self.load.busy + self.load.reserved

    def hear(self, line: StatusLine, now: float) -> tuple[LifeEvent | None, str]:
        """Note a status line; return the event that it is, if it is one, and the reason in words."""
        self.heard = now
        match line:
            case Heartbeat():
                self.load = line
                self.load_heard = now
                return self._judge(self._consuming.heard(line, now))
            case ChildDied():
                self.on_child_died(line)
            case LastWords():
                self.words = line
            case Ready():
                self.waiting = ""
                self._idles = False
                if self.ready_since is None:
                    self.ready_since = now
                    self._come_forward()
                return LifeEvent.READY, "ready"
            case Waiting():
                self.waiting = line.reason
                return LifeEvent.WAITING, f"{WAITS}{line.reason}"
            case Draining():
                # The next heartbeat is up to a second away: what waited has gone back by now.
                self.load = msgspec.structs.replace(self.load, busy=line.left, reserved=0)
                return LifeEvent.DRAINING, "drains of its own accord"
            case LinesLost():
                pass  # of the writer of log files alone
        return None, ""

    def close(self) -> None:
        """Take what it still has to say: its last lines first, then the last words."""
        try:
            self._come_forward()
            self.capture.close()
        finally:
            self.pipe.close()

    def _come_forward(self) -> None:
        if self.background is not None:
            self.background.close()

    def _judge(self, trouble: str) -> tuple[LifeEvent | None, str]:
        """Return the event that a program is which does its work no more, or again."""
        if trouble and self.ready_since is not None and not self.waiting:
            self.waiting = trouble
            self._idles = True
            return LifeEvent.WAITING, trouble
        if not trouble and self._idles:
            self.waiting = ""
            self._idles = False
            return LifeEvent.READY, "consumes again"
        return None, ""

    def child_rows(self) -> Sequence[Mapping[str, object]]:
        """Return how its pool children are now, by its last heartbeat."""
        passed = max(0.0, clock.monotonic() - self.load_heard)
        rows = []
        for child in self.load.children:
            row: dict[str, object] = msgspec.to_builtins(child)
            rows.append({**row, "since_s": child.since_s + passed, "heard_s": child.heard_s + passed})
        return rows
