"""No crash loop spins: forks wait after one that was refused, and after children that had run nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.loop import Loop, LoopTimer

#: For children that die before they run anything, for forks that are refused, and for templates.
BACKOFF = Backoff(base_s=0.1, max_s=10.0)
#: The same reason is said no more often.
_SAY_AGAIN_S = 60.0

_logger = logging.getLogger(__name__)


class ForkPause:
    """Whether forks wait, and for how long; ``on_over`` is called at the end of each pause."""

    def __init__(self, loop: Loop, on_over: Callable[[], None]) -> None:
        self._loop = loop
        self._on_over = on_over
        self._timer: LoopTimer | None = None
        self._deaths = 0
        self._refusals = 0
        self._said = ""
        self._said_until = 0.0

    @property
    def on(self) -> bool:
        """Whether nothing is to be forked now."""
        return self._timer is not None

    def forgive(self) -> None:
        """A child has run a job: what follows is a new story."""
        self._deaths = 0

    def forked(self) -> None:
        """A fork was granted."""
        self._refusals = 0

    def fork_failed(self, reason: str) -> None:
        """Wait: the template could not fork."""
        if not self.on:
            self._refusals += 1
            self._begin(self._refusals, reason)

    def died_early(self) -> None:
        """Wait, unless this is the first child that died unused: one is an accident."""
        self._deaths += 1
        if self._deaths > 1 and not self.on:
            self._begin(self._deaths, "it died before it had begun a job")

    def _begin(self, failures: int, reason: str) -> None:
        delay_s = BACKOFF.delay_s(failures)
        now = clock.monotonic()
        if reason != self._said or now >= self._said_until:
            _logger.warning("child could not be used, next in %.2f s: %s", delay_s, reason)
            self._said = reason
            self._said_until = now + _SAY_AGAIN_S
        self._timer = self._loop.call_later(delay_s, self._end)

    def _end(self) -> None:
        self._timer = None
        self._on_over()
