"""What is known of one process of a program, from its start to its end: what it says, and how it ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from taskd.protocol.status import Draining, Heartbeat, LastWords, Ready, StatusLine, Waiting
from taskd.supervisor.machine import Event
from taskd.supervisor.output.capture import Capture
from taskd.supervisor.reaper import Exit
from taskd.supervisor.spawn import Process
from taskd.supervisor.status_pipe import StatusPipe

_log = logging.getLogger(__name__)

# Of a long traceback the end is kept: there stands the error.
_DETAIL_CHARACTERS = 16_000
_FORKED_AWAY = (
    "it left {} process(es) behind, which were killed: a command must stay in the foreground"
    " (look for an option such as --foreground or --nodaemon)"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a program may be silent; seconds, and 0 for ``heartbeat_timeout_s`` means for ever."""

    start_timeout_s: float
    heartbeat_timeout_s: float


def _load_row(load: Heartbeat) -> Mapping[str, object]:
    """Return the columns of ``taskctl status`` that come from heartbeats."""
    return {
        "busy": load.busy,
        "reserved": load.reserved,
        "depth": load.depth,
        "done": load.done,
        "rss_bytes": load.rss_bytes,
        "oldest_s": load.oldest_s,
    }


#: The columns of a program that does not run.
NO_LOAD = _load_row(Heartbeat())


@dataclass(slots=True)
class Life:
    """One process; ``heard`` and ``ready_since`` are monotonic seconds."""

    process: Process
    pipe: StatusPipe
    capture: Capture
    heard: float
    #: Whether it is a program of taskd.
    is_own: bool = True
    ready_since: float | None = None
    waiting: str = ""
    words: LastWords | None = None
    #: It was told to take nothing new for now.
    quiet: bool = False
    load: Heartbeat = field(default_factory=Heartbeat)

    @property
    def held(self) -> int:
        """How many tasks it runs or keeps, by its last heartbeat."""
        return self.load.busy + self.load.reserved

    def hear(self, line: StatusLine, now: float) -> tuple[Event | None, str]:
        """Note a status line; return the event that it is, if it is one, and the reason in words."""
        self.heard = now
        match line:
            case Heartbeat():
                self.load = line
                return None, ""
            case LastWords():
                self.words = line
                return None, ""
            case Ready():
                self.waiting = ""
                if self.ready_since is None:
                    self.ready_since = now
                return Event.READY, "ready"
            case Waiting():
                self.waiting = line.reason
                return Event.WAITING, f"waiting: {line.reason}"
            case Draining():
                return Event.DRAINING, "drains of its own accord"

    def load_row(self) -> Mapping[str, object]:
        """Return the columns of ``taskctl status`` that come from heartbeats."""
        return _load_row(self.load)

    def cause(self, ended: Exit) -> str:
        """Return in one line why the process ended."""
        if self.words is not None:
            return f"{self.words.reason} ({ended})"
        if ended.left_behind and ended.code == 0 and not self.is_own:
            return f"{ended}; {_FORKED_AWAY.format(ended.left_behind)}"
        return str(ended)

    def detail(self, ended: Exit) -> str:
        """Return all that is known of the end, a traceback included, for ``taskctl status``."""
        if self.words is None:
            return self.cause(ended)
        return f"{self.words.reason}\n{self.words.detail}".strip()[-_DETAIL_CHARACTERS:]

    def log_end(self, name: str, ended: Exit, *, asked: bool) -> str:
        """Log how the process ended; return the cause in one line."""
        cause = self.cause(ended)
        level = logging.INFO if asked and ended.code == 0 else logging.WARNING if asked else logging.ERROR
        _log.log(
            level,
            "program=%s pid=%s ended: %s cpu_s=%.2f max_rss_bytes=%s%s",
            name,
            self.process.pid,
            cause,
            ended.cpu_s,
            ended.max_rss_bytes,
            f"\n{self.words.detail}" if self.words and self.words.detail else "",
        )
        return cause
