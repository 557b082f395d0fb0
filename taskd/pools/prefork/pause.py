"""No crash loop spins: forks wait after children that died before they had run anything."""

from __future__ import annotations

import logging
from collections.abc import Callable

from taskd.backoff import Backoff
from taskd.loop import Loop, Timer

#: For children that die before they run anything and for templates.
BACKOFF = Backoff(base_s=0.1, max_s=10.0)

_logger = logging.getLogger(__name__)


class ForkPause:
    """Whether forks wait, and for how long; ``on_over`` is called at the end of each pause."""

    def __init__(self, loop: Loop, on_over: Callable[[], None]) -> None:
        self._loop = loop
        self._on_over = on_over
        self._timer: Timer | None = None
        self._deaths = 0

    @property
    def on(self) -> bool:
        """Whether nothing is to be forked now."""
        return self._timer is not None

    def forgive(self) -> None:
        """A child has run a job: what follows is a new story."""
        self._deaths = 0

    def fork_failed(self, reason: str) -> None:
        """Wait: the template could not fork."""
        self._deaths += 1
        self._begin(reason)

    def died_early(self) -> None:
        """Wait, unless this is the first child that died unused: one is an accident."""
        self._deaths += 1
        if self._deaths > 1:
            self._begin("it died before it had begun a job")

    def _begin(self, reason: str) -> None:
        if self._timer is not None:
            return
        delay_s = BACKOFF.delay_s(self._deaths)
        _logger.warning("child could not be used, next in %.2f s: %s", delay_s, reason)
        self._timer = self._loop.call_later(delay_s, self._end)

    def _end(self) -> None:
        self._timer = None
        self._on_over()
