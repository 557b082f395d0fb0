"""The beat process at work: wakes when something is due, fires it, and tells the supervisor how it is.

Any number of beats may run over one store.  The beat that has the lease fires; the others sleep until a run
is due and the lease has ended.  A beat needs its lease only to fire: one with nothing to do lets it end, so
that an idle schedule wakes nobody.

An occurrence that the broker does not take stays undecided; when the broker is back, the entry's rule for
missed runs decides.  Attempts are spaced by backoff.

Beat never sleeps longer than ``MAX_WAIT_S``.  Timers are monotonic, schedules are wall-clock, and that is how
soon a clock that was set, or a machine that was suspended, is noticed.  Then too it looks whether a wake-up
from its store was lost.
"""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Mapping, Sequence

from taskd.base import clock
from taskd.base.errors import BackendError, TooLateError
from taskd.base.exhaustive import assert_never
from taskd.base.jumps import Jumps, in_words
from taskd.base.lifecycle import Deadline, OneLife
from taskd.base.loop import Loop, LoopTimer, Owner
from taskd.beat.book import Book
from taskd.beat.broker_line import BrokerLine
from taskd.beat.entries import EntrySource
from taskd.beat.firing import Firing, marks_of
from taskd.beat.keeper import Alone, Follower, Keeper, Leader
from taskd.beat.pulse import Pulse
from taskd.beat.sources import Sources
from taskd.beat.store_watch import StoreWatch
from taskd.beat.stores.base import Declared
from taskd.beat.surroundings import BeatSurroundings
from taskd.config.schedule import BeatEntryConfig

MAX_WAIT_S = 10.0
#: How soon beat looks again after a look that failed as nobody foresaw.
LOOK_AGAIN_S = 1.0

logger = logging.getLogger(__name__)


def _say_parked(name: str, why: str) -> None:
    logger.error("entry is parked, change it or restart beat entry=%s: %s", name, why)


class Beat:
    """Fires the entries of one schedule from one loop.  A service: see ``base.lifecycle``."""

    def __init__(
        self, loop: Loop, entries: Mapping[str, BeatEntryConfig], surroundings: BeatSurroundings
    ) -> None:
        self._loop = loop
        self._now = surroundings.now
        self._life = OneLife()
        self._owner = Owner("this look of beat", self._failed)
        self._book = Book(self._now(), _say_parked)
        self._book.listing.replace(EntrySource.FILE, entries)
        self._firing = Firing(self._book, self._now)
        self._keeper = Keeper(
            surroundings.open_store,
            lease_s=surroundings.lease_s,
            opened=lambda store: loop.add_reader(store.fileno(), self._on_wakeup, self._owner),
            closed=lambda store: loop.remove_reader(store.fileno()),
        )
        self._store = StoreWatch(self._book, self._keeper, self._now, look_every_s=MAX_WAIT_S)
        self._sources = Sources(self._book, self._keeper, self._now)
        self._heart = Pulse(surroundings.report)
        self._line = BrokerLine(
            loop,
            surroundings.connect,
            self._heart,
            backoff=surroundings.backoff,
            owner=self._owner,
            up=self._on_up,
            tried=self.tick,
        )
        self._jumps = Jumps(self._now(), clock.monotonic())
        self._ran = surroundings.ran
        self._sent = 0
        #: When a follower looks after its leader; inf for one that leads.
        self._look_until = math.inf
        self._timer: LoopTimer | None = None

    # -- its life ----------------------------------------------------------------------------

    def start(self) -> None:
        """Open the store, connect, and tick from now on.  Does not fail for anything that is away."""
        if not self._life.begin():
            return
        gc.disable()  # these objects stay: looking for garbage in them is half of the time
        try:
            self._store.load()
            self._line.connect()
            self._loop.attempt(self.tick, self._owner)
        finally:
            gc.enable()

    def quiet(self) -> None:
        """Fire nothing more."""
        self._life.calm()
        self._cancel_timer()

    def stop(self, deadline: Deadline) -> None:
        """Fire nothing more, give up the lease and close everything; there is nothing to wait for."""
        if self._life.end() and self._book.next_at() <= self._now() and not self._line.is_up:
            logger.warning(
                "stopped with runs that are due and not sent: they are missed runs at the next start"
            )
        self.kill()

    def kill(self) -> None:
        """Give up the lease and close everything."""
        self._life.end()
        self._cancel_timer()
        self._keeper.close()
        self._line.close()

    # -- ticking -----------------------------------------------------------------------------

    def tick(self) -> None:
        """Fire what is due and set the timer of the next tick.  For the loop; an early call does no harm."""
        if not self._life.takes:
            return
        now = self._now()
        if (by_s := self._jumps.look(now, clock.monotonic())) > 0:
            logger.warning("%s: runs that came due in between follow their entries' `missed`", in_words(by_s))
        if self._book.notice(now):
            logger.warning("the clock was set back, everything is planned anew from %s", clock.iso(now))
        self._store.look(now)
        self._look_until = math.inf
        more = self._has_work(now) and self._work(now)
        due = int(self._book.next_at() <= self._now())
        self._heart.beat(reserved=due, done=self._sent, trouble=self._keeper.trouble())
        self._set_timer(at_once=more)
        if self._line.is_up:
            self._heart.recovered()

    def _failed(self, why: str) -> None:
        """A look has failed as nobody foresaw, and may have armed nothing: look again, and say so."""
        self._heart.failed(why)
        self._cancel_timer()
        self._timer = self._loop.call_later(LOOK_AGAIN_S, self.tick, self._owner)
        if not self._line.is_up:
            self._line.connect_in(LOOK_AGAIN_S)

    def _on_up(self) -> None:
        logger.info("ready entries=%d", len(self._book.rows))
        self._heart.ready()

    def _on_wakeup(self) -> None:
        self._store.wake()
        self.tick()

    def _set_timer(self, *, at_once: bool) -> None:
        self._cancel_timer()
        monotonic = clock.monotonic()
        wait_s = min(MAX_WAIT_S, self._look_until - monotonic, self._keeper.look_until - monotonic)
        if self._line.is_up and self._look_until == math.inf:
            wait_s = min(wait_s, self._book.next_at() - self._now())
        self._timer = self._loop.call_later(0.0 if at_once else max(wait_s, 0.0), self.tick, self._owner)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # -- firing ------------------------------------------------------------------------------

    def _has_work(self, now: float) -> bool:
        if not self._line.is_up:
            return False
        return bool(self._book.next_at() <= now or self._book.requests or self._book.dirty)

    def _work(self, now: float) -> bool:
        """Fire and record if it is for this beat to do so; return True when there is more to do."""
        if not self._keeper.is_leader:
            self._store.see_runs_of_others(now)
            if not self._has_work(now):
                return False
        match role := self._keeper.stand():
            case Follower():
                self._look_until = role.look_until
                self._book.dirty.clear()  # it is for the leader to write marks
                more = False
            case Leader():
                if role.is_new:
                    self._store.see_all_runs(now)
                more = self._fire(role.trusted_until)
            case Alone():
                more = self._fire(math.inf)
            case _:
                assert_never(role)
        return more

    def _fire(self, until: float) -> bool:
        publisher = self._line.publisher
        assert publisher is not None, "nothing is fired while the broker is away"
        try:
            fired = self._firing.fire(publisher, until=until, delayed_by=self._line.delayed_by)
        except TooLateError:
            logger.warning("the lease ended before the runs were sent; they are decided on again")
            return True
        except BackendError as error:
            self._line.lose(error)
            return False
        self._sent += fired.sent
        if not fired.more:
            self._line.delayed_by = ""
        if self._keeper.record(marks_of(self._book), fired.decisions, fired.done):
            self._book.dirty.clear()
            if not fired.more:
                self._line.forget_old_runs()
        self._tell_apps(fired.ran)
        if self._line.news is not None:
            self._line.news.tell(fired.decisions, lambda name: self._book.rows[name].listed.entry.task)
        return fired.more

    def _tell_apps(self, ran: Sequence[str]) -> None:
        """Let those who keep the schedules of apps know of the runs that were sent."""
        rows = self._book.rows
        names = [name for name in ran if name in rows and rows[name].listed.source is EntrySource.APP]
        if names:
            self._ran(names)

    # -- other entries -----------------------------------------------------------------------

    def learn(self, declared: Declared) -> None:
        """Take over what the apps' code declares, as ``Sources`` says.  For the loop."""
        self._sources.take_declared(declared)
        self.tick()

    def reread(self, entries: Mapping[str, BeatEntryConfig]) -> None:
        """Take over the entries of a changed file while this beat goes on.  For the loop."""
        changed = self._sources.take_file(entries)
        logger.info("changed settings taken over, changed entries=%d", changed)
        self.tick()
