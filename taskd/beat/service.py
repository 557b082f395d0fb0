"""The beat process at work: wakes when something is due, fires it, and tells the supervisor how it is.

Any number of beats may run over one store.  The beat that has the lease fires; the others sleep until a run
is due and the lease has ended.  A beat needs its lease only to fire: one with nothing to do lets it end, so
that an idle schedule wakes nobody.

An occurrence that the broker does not take stays undecided; when the broker is back, the entry's rule for
missed runs decides.  Attempts are spaced by backoff.

Beat never sleeps longer than ``MAX_WAIT_S``: timers are monotonic, schedules are wall-clock, and that
is how soon a clock that was set, or a machine that was suspended, is noticed; then too it looks whether a
wake-up from its store was lost.
"""

from __future__ import annotations

import gc
import logging
import math
import os
from collections.abc import Mapping

from taskd.base import clock
from taskd.base.errors import BrokerError, StorageError, TooLateError
from taskd.base.exhaustive import assert_never
from taskd.base.jumps import Jumps, in_words
from taskd.base.loop import Loop, Owner, Timer
from taskd.beat.book import Book
from taskd.beat.entries import EntrySource
from taskd.beat.firing import Firing, marks_of
from taskd.beat.keeper import Alone, Follower, Keeper, Leader
from taskd.beat.news import News
from taskd.beat.sources import Sources
from taskd.beat.stores.base import Declared
from taskd.beat.surroundings import Surroundings
from taskd.brokers.base import Broker
from taskd.brokers.once import OncePublisher, once_publisher
from taskd.config.schedule import BeatEntryConfig
from taskd.host.resident import resident_bytes
from taskd.protocol.status import Heartbeat, Ready, Waiting

MAX_WAIT_S = 10.0
#: A schedule of every second must not make more heartbeats than a busy worker does.
HEARTBEAT_S = 1.0
#: How long the broker remembers the ids of runs that are over and recorded.
REMEMBER_S = 3600.0
_FORGET_EVERY_S = 60.0
#: How soon beat looks again after a look that failed as nobody foresaw.
LOOK_AGAIN_S = 1.0

logger = logging.getLogger(__name__)


def _say_parked(name: str, why: str) -> None:
    logger.error("entry is parked, change it or restart beat entry=%s: %s", name, why)


class Beat:
    """Fires the entries of one schedule from one loop."""

    def __init__(
        self, loop: Loop, entries: Mapping[str, BeatEntryConfig], surroundings: Surroundings
    ) -> None:
        self._loop = loop
        self._around = surroundings
        self._now = surroundings.now
        self._book = Book(self._now(), _say_parked)
        self._owner = Owner("this look of beat", self._failed)
        self._trouble = ""
        self._book.listing.replace(EntrySource.FILE, entries)
        self._firing = Firing(self._book, self._now)
        self._keeper = Keeper(
            surroundings.open_store,
            lease_s=surroundings.lease_s,
            opened=lambda store: loop.add_reader(store.fileno(), self._on_change, self._owner),
            closed=lambda store: loop.remove_reader(store.fileno()),
        )
        self._sources = Sources(self._book, self._keeper, self._now)
        self._broker: Broker | None = None
        self._publisher: OncePublisher | None = None
        self._news: News | None = None
        self._jumps = Jumps(self._now(), clock.monotonic())
        self._up = False
        self._failures = 0
        self._delayed_by = ""
        self._sent = 0
        self._look_until = math.inf
        self._forget_until = 0.0
        self._heartbeat_until = 0.0
        self._revision_until = 0.0
        self._tick_timer: Timer | None = None
        self._retry_timer: Timer | None = None

    def start(self) -> None:
        """Open the store, connect, and tick from now on.  Does not fail for anything that is away."""
        gc.disable()  # objects made here stay: looking for garbage among them is half of the time
        try:
            self._load()
            self._connect()
            self._loop.attempt(self.tick, self._owner)
        finally:
            gc.enable()

    def _load(self) -> None:
        self._keeper.open()
        self._book.listing.replace(EntrySource.APP, self._keeper.declared().entries)
        self._take_changes()
        self._book.load(self._keeper.marks(), self._now())
        for name, problem in self._book.unusable.items():
            logger.error("entry cannot be used entry=%s: %s", name, problem)

    def stop(self) -> None:
        """Stop ticking, give up the lease and close everything.  May be called twice."""
        for timer in (self._tick_timer, self._retry_timer):
            if timer is not None:
                timer.cancel()
        due = self._book.next_at() <= self._now()
        if due and not self._up:
            logger.warning(
                "stopped with runs that are due and not sent: they are missed runs at the next start"
            )
        self._keeper.close()
        self._disconnect()

    def tick(self) -> None:
        """Fire what is due and set the timer of the next tick.  For the loop; an early call does no harm."""
        now = self._now()
        if (by_s := self._jumps.look(now, clock.monotonic())) > 0:
            logger.warning("%s: runs that came due in between follow their entries' `missed`", in_words(by_s))
        if self._book.notice(now):
            logger.warning("the clock was set back, everything is planned anew from %s", clock.iso(now))
        self._look_for_lost_wakeup(now)
        if self._keeper.open():
            self._catch_up_with_store(now)
        self._look_until = math.inf
        more = self._has_work(now) and self._work(now)
        self._heartbeat()
        self._set_timer(at_once=more)
        if self._trouble and self._up:
            self._trouble = ""
            self._around.report(Ready())

    def _failed(self, why: str) -> None:
        """A look has failed as nobody foresaw, and may have armed nothing: look again, and say so."""
        self._trouble = why
        self._around.report(Waiting(why))
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        self._tick_timer = self._loop.call_later(LOOK_AGAIN_S, self.tick, self._owner)
        if not self._up:
            if self._retry_timer is not None:
                self._retry_timer.cancel()
            self._retry_timer = self._loop.call_later(LOOK_AGAIN_S, self._reconnect, self._owner)

    def _has_work(self, now: float) -> bool:
        if not self._up:
            return False
        return bool(self._book.next_at() <= now or self._book.requests or self._book.dirty)

    def _work(self, now: float) -> bool:
        """Fire and record if it is for this beat to do so; return True when there is more to do."""
        if not self._keeper.is_leader:
            self._see_what_others_did(now)
            if not self._has_work(now):
                return False
        match standing := self._keeper.stand():
            case Follower():
                self._look_until = standing.look_until
                self._book.dirty.clear()  # it is for the leader to write marks
                more = False
            case Leader():
                if standing.is_new:
                    self._book.adopt_all(self._keeper.marks(), now)
                more = self._fire(standing.trusted_until)
            case Alone():
                more = self._fire(math.inf)
            case _:
                assert_never(standing)
        return more

    def _fire(self, until: float) -> bool:
        assert self._publisher is not None
        try:
            fired = self._firing.fire(self._publisher, until=until, delayed_by=self._delayed_by)
        except TooLateError:
            logger.warning("the lease ended before the runs were sent; they are decided on again")
            return True
        except (BrokerError, StorageError) as error:
            self._disconnect()
            self._wait_for_broker(error)
            return False
        self._sent += fired.sent
        if not fired.more:
            self._delayed_by = ""
        if self._keeper.record(marks_of(self._book), fired.decisions, fired.done):
            self._book.dirty.clear()
            self._forget(more=fired.more)
        if self._news is not None:
            self._news.tell(fired.decisions, lambda name: self._book.rows[name].listed.entry.task)
        return fired.more

    def _forget(self, *, more: bool) -> None:
        """Let the broker forget old ids; never while a run may have been sent that is not recorded."""
        if more or clock.monotonic() < self._forget_until:
            return
        assert self._publisher is not None
        self._forget_until = clock.monotonic() + _FORGET_EVERY_S
        try:
            self._publisher.forget(REMEMBER_S)
        except (BrokerError, StorageError) as error:
            logger.warning("the broker could not forget old runs: %s", error)

    def _set_timer(self, *, at_once: bool) -> None:
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        monotonic = clock.monotonic()
        wait_s = min(MAX_WAIT_S, self._look_until - monotonic, self._keeper.look_until - monotonic)
        if self._up and self._look_until == math.inf:
            wait_s = min(wait_s, self._book.next_at() - self._now())
        self._tick_timer = self._loop.call_later(0.0 if at_once else max(wait_s, 0.0), self.tick, self._owner)

    def _heartbeat(self) -> None:
        if clock.monotonic() < self._heartbeat_until:
            return
        self._heartbeat_until = clock.monotonic() + HEARTBEAT_S
        is_due = self._book.next_at() <= self._now()
        rss_bytes = resident_bytes([os.getpid()])
        self._around.report(Heartbeat(reserved=int(is_due), done=self._sent, rss_bytes=rss_bytes))

    def _on_change(self) -> None:
        store = self._keeper.store
        if store is not None:
            store.clear_wakeups()
            self._book.refresh(self._take_changes(), self._now())
        self.tick()

    def _look_for_lost_wakeup(self, now: float) -> None:
        store = self._keeper.store
        if store is None or clock.monotonic() < self._revision_until:
            return
        self._revision_until = clock.monotonic() + MAX_WAIT_S
        try:
            is_new = store.revision() != self._book.revision
        except StorageError as error:
            self._keeper.lose(error)
            return
        if is_new:
            self._book.refresh(self._take_changes(), now)

    def _take_changes(self) -> set[str]:
        """Read what operators changed; return the names that it concerns."""
        store = self._keeper.store
        if store is None:
            return set()
        try:
            changes = store.changes(self._book.revision)
        except StorageError as error:
            self._keeper.lose(error)
            return set()
        for name, problem in changes.unreadable.items():
            logger.error("entry in the store cannot be read entry=%s: %s", name, problem)
        return self._book.apply(changes)

    def _catch_up_with_store(self, now: float) -> None:
        """Agree with a store that came back, or was made anew."""
        former = self._book.forget_run_time()
        self._book.refresh(former | self._take_changes(), now)
        self._book.adopt_all(self._keeper.marks(), now)

    def _see_what_others_did(self, now: float) -> None:
        """Adopt what the leader has recorded about the entries that are due here."""
        names = self._book.agenda.due(now)
        if names:
            self._book.adopt(self._keeper.marks(names), now)
        if self._book.requests:
            self._take_changes()

    def learn(self, declared: Declared) -> None:
        """Take over what the apps' code declares, as ``Sources`` says.  For the loop."""
        self._sources.take_declared(declared)
        self.tick()

    def reread(self, entries: Mapping[str, BeatEntryConfig]) -> None:
        """Take over the entries of a changed file while this beat goes on.  For the loop."""
        changed = self._sources.take_file(entries)
        logger.info("changed settings taken over, changed entries=%d", changed)
        self.tick()

    def _connect(self) -> None:
        """Connect, and come back later when that fails."""
        try:
            self._broker = self._around.connect()
            self._publisher = once_publisher(self._broker)
            self._news = News(self._broker.event_sender)
            # A publisher may open nothing before its first message.
            self._broker.desk().queues()
        except (BrokerError, StorageError) as error:
            self._disconnect()
            self._wait_for_broker(error)
            return
        self._failures = 0
        self._up = True
        logger.info("ready entries=%d", len(self._book.rows))
        self._around.report(Ready())

    def _reconnect(self) -> None:
        self._connect()
        self.tick()

    def _wait_for_broker(self, error: Exception) -> None:
        self._up = False
        self._failures += 1
        if self._failures == 1:
            logger.warning("broker away, runs are kept until it is back: %s", error)
        self._delayed_by = "the broker was away"
        self._around.report(Waiting(f"broker: {error}"))
        delay_s = self._around.backoff.delay_s(self._failures)
        self._retry_timer = self._loop.call_later(delay_s, self._reconnect, self._owner)

    def _disconnect(self) -> None:
        self._up = False
        for each in (self._news, self._publisher, self._broker):
            if each is not None:
                each.close()
        self._news = self._publisher = self._broker = None
