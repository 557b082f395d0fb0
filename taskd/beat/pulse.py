"""Tells the supervisor how beat fares: ready, waiting, and a heartbeat once in a while."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from taskd.base import clock
from taskd.host.resident import resident_bytes
from taskd.protocol.status import Heartbeat, Ready, StatusLine, Trouble, Waiting

#: A schedule of every second must not make more heartbeats than a busy worker does.
HEARTBEAT_S = 1.0


class Pulse:
    """Knows what the supervisor was told last."""

    def __init__(self, report: Callable[[StatusLine], None]) -> None:
        self._report = report
        self._until = 0.0
        self._trouble = ""
        self._troubles: Sequence[Trouble] = ()

    def ready(self) -> None:
        """Beat fires what comes due."""
        self._report(Ready())

    def waiting(self, why: str) -> None:
        """Beat can not fire now, and tries again by itself."""
        self._report(Waiting(why))

    def failed(self, why: str) -> None:
        """A look has failed as nobody foresaw: beat counts as waiting until one succeeds."""
        self._trouble = why
        self._report(Waiting(why))

    def recovered(self) -> None:
        """A look has succeeded."""
        if self._trouble:
            self._trouble = ""
            self._report(Ready())

    def beat(self, *, reserved: int, done: int, trouble: Trouble | None) -> None:
        """Send a heartbeat, if the last one is long enough ago or the trouble is another one."""
        troubles = () if trouble is None else (trouble,)
        if clock.monotonic() < self._until and troubles == self._troubles:
            return
        self._until = clock.monotonic() + HEARTBEAT_S
        self._troubles = troubles
        rss_bytes = resident_bytes([os.getpid()])
        self._report(Heartbeat(reserved=reserved, done=done, rss_bytes=rss_bytes, troubles=troubles))
