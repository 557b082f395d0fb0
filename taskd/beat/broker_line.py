"""Beat's line to the broker: connected, lost, and connected again by backoff."""

from __future__ import annotations

import logging
from collections.abc import Callable

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.errors import BackendError
from taskd.base.loop import Loop, LoopTimer, Owner
from taskd.beat.news import BeatNews
from taskd.beat.pulse import Pulse
from taskd.brokers.base import Broker
from taskd.brokers.once import OncePublisher, once_publisher

#: How long the broker remembers the ids of runs that are over and recorded.
REMEMBER_S = 3600.0
_FORGET_EVERY_S = 60.0

logger = logging.getLogger(__name__)


class BrokerLine:
    """One connection after the other.  For the loop's thread; nothing here raises for an absent broker."""

    def __init__(
        self,
        loop: Loop,
        connect: Callable[[], Broker],
        heart: Pulse,
        *,
        backoff: Backoff,
        owner: Owner,
        up: Callable[[], None],
        tried: Callable[[], None],
    ) -> None:
        """``owner`` pays for a connection that fails unforeseen.

        ``up`` is called with each connection, ``tried`` after each further attempt.
        """
        self._loop = loop
        self._connect = connect
        self._heart = heart
        self._backoff = backoff
        self._owner = owner
        self._up = up
        self._tried = tried
        self._broker: Broker | None = None
        self._timer: LoopTimer | None = None
        self._failures = 0
        self._forget_until = 0.0
        #: Sends runs; None while the broker is away.
        self.publisher: OncePublisher | None = None
        #: Tells monitors; None while the broker is away.
        self.news: BeatNews | None = None
        #: Whether the broker takes runs.
        self.is_up = False
        #: The cause that held up the next runs, for their history; their sender empties it.
        self.delayed_by = ""

    def connect(self) -> None:
        """Connect, and come back later when that fails."""
        try:
            self._broker = self._connect()
            self.publisher = once_publisher(self._broker)
            self.news = BeatNews(self._broker.event_sender)
            # A publisher may open nothing before its first message.
            self._broker.desk().queues()
        except BackendError as error:
            self.lose(error)
            return
        self._failures = 0
        self.is_up = True
        self._up()

    def lose(self, error: BackendError) -> None:
        """Give up a connection that failed, and connect again later."""
        self._disconnect()
        self._failures += 1
        if self._failures == 1:
            logger.warning("broker away, runs are kept until it is back: %s", error)
        self.delayed_by = "the broker was away"
        self._heart.waiting(f"broker: {error}")
        self.connect_in(self._backoff.delay_s(self._failures))

    def connect_in(self, delay_s: float) -> None:
        """Connect after this time, and not before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self._connect_again, self._owner)

    def _connect_again(self) -> None:
        self.connect()
        self._tried()

    def forget_old_runs(self) -> None:
        """Have the broker forget old ids now and then; never while a run may be sent and not recorded."""
        if self.publisher is None or clock.monotonic() < self._forget_until:
            return
        self._forget_until = clock.monotonic() + _FORGET_EVERY_S
        try:
            self.publisher.forget(REMEMBER_S)
        except BackendError as error:
            logger.warning("the broker could not forget old runs: %s", error)

    def close(self) -> None:
        """Disconnect for good.  May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        self._disconnect()

    def _disconnect(self) -> None:
        self.is_up = False
        for each in (self.news, self.publisher, self._broker):
            if each is not None:
                each.close()
        self.news = None
        self.publisher = None
        self._broker = None
