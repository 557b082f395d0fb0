"""Looks every few seconds whether the wall clock has jumped, says so, and remembers the last jump."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from taskd.base import clock, jumps
from taskd.base.loop import Loop, Owner

_log = logging.getLogger(__name__)

#: How often it looks.
EVERY_S = 10.0


class ClockWatch:
    """For the loop's thread.  The clocks and the period are given in tests alone."""

    def __init__(
        self,
        loop: Loop,
        *,
        now: Callable[[], float] = clock.now,
        monotonic: Callable[[], float] = clock.monotonic,
        every_s: float = EVERY_S,
    ) -> None:
        self._loop = loop
        self._now = now
        self._monotonic = monotonic
        self._every_s = every_s
        self._jumps = jumps.Jumps(now(), monotonic())
        self._last: Mapping[str, object] | None = None
        self._owner = Owner("the watch over the clock", lambda _why: self._arm())
        self._arm()

    @property
    def last(self) -> Mapping[str, object] | None:
        """The last jump, for ``taskctl status``: ``at`` by the new time, and ``by_s``; None for none."""
        return self._last

    def _arm(self) -> None:
        self._loop.call_later(self._every_s, self._look, self._owner)

    def _look(self) -> None:
        by_s = self._jumps.look(self._now(), self._monotonic())
        if by_s:
            self._last = {"at": self._now(), "by_s": by_s}
            _log.warning(
                "%s: tasks that are due by the time of day (delayed and periodic ones) are early or late",
                jumps.in_words(by_s),
                extra={"fields": {"TASKD_CLOCK_JUMP_SEC": f"{by_s:.3f}"}},
            )
        self._arm()
