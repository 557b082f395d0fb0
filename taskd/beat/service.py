"""The beat process at work: ticks when something is due, sends it, and tells the supervisor how it is.

An occurrence that the broker does not take is kept and sent when the broker is back; attempts are
spaced by backoff.  While it waits, a later occurrence of the same entry takes its place, by the
agenda's rule for missed runs, so the memory needed is one message an entry.  What is still unsent when
beat is stopped is given up, with a log line that names it.

Beat never sleeps longer than ``MAX_WAIT_S``: timers are monotonic, schedules are wall-clock, and that
is how soon a clock that was set, or a machine that was suspended, is noticed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping

from taskd import clock
from taskd.backoff import Backoff
from taskd.beat.agenda import Agenda
from taskd.beat.messages import beat_message
from taskd.beat.schedules.build import schedule_of
from taskd.brokers.base import Broker, Publisher
from taskd.brokers.intake import Outgoing
from taskd.config.schedule import BeatEntryConfig
from taskd.errors import BrokerError, StorageError
from taskd.loop import Loop, Timer
from taskd.protocol.status import Heartbeat, Ready, StatusLine, Waiting
from taskd.resident import resident_bytes

MAX_WAIT_S = 10.0
#: A schedule of every second must not make more heartbeats than a busy worker does.
HEARTBEAT_S = 1.0
RECONNECT = Backoff(base_s=0.2, max_s=15.0, floor_s=0.05)

logger = logging.getLogger(__name__)


class Beat:
    """Sends the entries of one schedule from one loop."""

    def __init__(
        self,
        loop: Loop,
        entries: Mapping[str, BeatEntryConfig],
        connect: Callable[[], Broker],
        report: Callable[[StatusLine], None],
        *,
        now: Callable[[], float] = clock.now,
        backoff: Backoff = RECONNECT,
    ) -> None:
        """Plan the schedule.

        ``connect`` opens the broker anew at each attempt.  Raises: ``ConfigError`` for a wrong entry.
        """
        self._loop = loop
        self._entries = entries
        self._connect = connect
        self._report = report
        self._now = now
        self._backoff = backoff
        self._agenda = Agenda({name: schedule_of(entry, name) for name, entry in entries.items()}, now())
        self._unsent: dict[str, Outgoing] = {}
        self._broker: Broker | None = None
        self._publisher: Publisher | None = None
        self._up = False
        self._failures = 0
        self._sent = 0
        self._heartbeat_until = 0.0
        self._tick_timer: Timer | None = None
        self._retry_timer: Timer | None = None

    def start(self) -> None:
        """Connect, report the outcome, and tick from now on.  Does not fail for a broker that is away."""
        self._flush()
        self.tick()

    def stop(self) -> None:
        """Stop ticking and close the broker.  May be called twice."""
        for timer in (self._tick_timer, self._retry_timer):
            if timer is not None:
                timer.cancel()
        self._disconnect()
        if self._unsent:
            logger.warning("beat stopped with unsent runs entries=%s", ",".join(self._unsent))

    def tick(self) -> None:
        """Send what is due and set the timer of the next tick.  For the loop; an early call does no harm."""
        now = self._now()
        for occurrence in self._agenda.due(now):
            name = occurrence.name
            if name in self._unsent:
                logger.warning("run missed, broker away entry=%s", name)
            self._unsent[name] = beat_message(self._entries[name], occurrence.fire_at)
        if self._unsent and self._up:
            self._flush()
        if clock.monotonic() >= self._heartbeat_until:
            self._heartbeat_until = clock.monotonic() + HEARTBEAT_S
            rss_bytes = resident_bytes([os.getpid()])
            self._report(Heartbeat(reserved=len(self._unsent), done=self._sent, rss_bytes=rss_bytes))
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        wait_s = min(max(self._agenda.next_at() - self._now(), 0.0), MAX_WAIT_S)
        self._tick_timer = self._loop.call_later(wait_s, self.tick)

    def _flush(self) -> None:
        """Connect if need be and send everything unsent in one trip; come back later when that fails."""
        try:
            if self._publisher is None:
                self._publisher = self._open()
            if self._unsent:
                self._publisher.publish(list(self._unsent.values()))
        except (BrokerError, StorageError) as error:
            self._disconnect()
            self._wait_for_broker(error)
            return
        logger.debug("sent entries=%s", ",".join(self._unsent))
        self._sent += len(self._unsent)
        self._unsent.clear()
        self._failures = 0
        if not self._up:
            self._up = True
            logger.info("ready entries=%d", len(self._entries))
            self._report(Ready())

    def _open(self) -> Publisher:
        """Connect, and prove it: a publisher may open nothing before its first message."""
        self._broker = self._connect()
        desk = self._broker.desk()
        desk.queues()
        return self._broker.publisher()

    def _wait_for_broker(self, error: Exception) -> None:
        self._up = False
        self._failures += 1
        delay_s = self._backoff.delay_s(self._failures)
        if self._failures == 1:
            logger.warning("broker away, runs are kept until it is back: %s", error)
        self._report(Waiting(f"broker: {error}"))
        self._retry_timer = self._loop.call_later(delay_s, self._flush)

    def _disconnect(self) -> None:
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
        if self._broker is not None:
            self._broker.close()
            self._broker = None
