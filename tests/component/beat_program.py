"""A beat in a process of its own whose wall clock is wrong by so many seconds, for tests of several beats.

``python -m tests.component.beat_program PLACE OFFSET_S LEASE_S ENTRIES EVERY_S DIE_AT`` runs until it is
killed.  ``PLACE`` is a directory or a database of Redis.  ``DIE_AT`` names
a step at which it kills itself, the third time it comes there: ``sending`` (before
the broker), ``sent`` (after it, before the store) or ``recorded``; anything else is none.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Collection, Sequence

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.loop import Loop
from taskd.beat.service import Beat
from taskd.beat.stores.base import BeatStore, Decision, Mark
from taskd.beat.stores.redis import RedisStore
from taskd.beat.stores.sqlite import SqliteStore
from taskd.beat.surroundings import BeatSurroundings
from taskd.brokers.base import Broker
from taskd.brokers.once import OncePublisher
from taskd.brokers.redis.broker import RedisBroker
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.timing import Timing
from taskd.config.schedule import BeatEntryConfig
from taskd.config.stores import RedisConfig, SqliteConfig
from taskd.protocol.delivery import Outgoing


class Death:
    """Counts the visits of a step, and ends the process at the third."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._visits = 0

    def comes(self, step: str) -> None:
        """The process is at this step."""
        if step == self._step:
            self._visits += 1
            if self._visits == 3:
                os.kill(os.getpid(), signal.SIGKILL)


def mortal_broker(broker: SqliteBroker | RedisBroker, death: Death) -> Broker:
    """Return the broker with a death in its publishers of runs: before or after they send."""
    make = broker.once

    def once() -> OncePublisher:
        made = make()
        publish = made.publish_once

        def publish_once(messages: Sequence[Outgoing], *, until: float) -> Collection[str]:
            death.comes("sending")
            refused = publish(messages, until=until)
            death.comes("sent")
            return refused

        made.publish_once = publish_once  # type: ignore[method-assign]
        return made

    broker.once = once  # type: ignore[method-assign, assignment]
    return broker


def mortal_store(store: SqliteStore | RedisStore, death: Death) -> BeatStore:
    """Return the store with a death after it has recorded."""
    write = store.record

    def record(
        term: int, marks: Sequence[Mark], decisions: Sequence[Decision], done: Collection[int] = ()
    ) -> None:
        write(term, marks, decisions, done)
        if decisions:
            death.comes("recorded")

    store.record = record  # type: ignore[method-assign]
    return store


def open_broker(place: str, timing: Timing) -> SqliteBroker | RedisBroker:
    """Return the broker in a directory, or in a database of Redis."""
    if place.startswith("redis:"):
        return RedisBroker(place, RedisConfig())  # the server's clock decides
    return SqliteBroker(f"sqlite://{place}/broker.db", SqliteConfig(), timing)


def open_store(place: str, timing: Timing, *, listens: bool = True) -> SqliteStore | RedisStore:
    """Return beat's store in a directory, or in a database of Redis."""
    if place.startswith("redis:"):
        return RedisStore(place, RedisConfig(), 100, listens=listens)
    return SqliteStore(f"sqlite://{place}/beat.db", SqliteConfig(), 100, timing, listens=listens)


def entries_of(count: int, every_s: float) -> dict[str, BeatEntryConfig]:
    """Return so many entries that send everything they missed."""
    names = [f"entry-{number}" for number in range(count)]
    return {
        name: BeatEntryConfig(name=name, task="t", every=every_s, missed="all", max_missed=10_000)
        for name in names
    }


def main() -> None:
    """Run until killed."""
    place, offset_s, lease_s, count, every_s, die_at = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    offset = float(offset_s)
    now = lambda: clock.now() + offset  # noqa: E731
    timing = Timing(now=now)
    death = Death(die_at)
    loop = Loop()
    around = BeatSurroundings(
        connect=lambda: mortal_broker(open_broker(place, timing), death),
        open_store=lambda: mortal_store(open_store(place, timing), death),
        report=lambda line: None,
        now=now,
        backoff=Backoff(base_s=0.02, max_s=0.1, floor_s=0.01),
        lease_s=float(lease_s),
    )
    Beat(loop, entries_of(int(count), float(every_s)), around).start()
    while True:
        loop.run_once()


if __name__ == "__main__":
    main()
