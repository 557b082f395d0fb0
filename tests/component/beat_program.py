"""A beat in a process of its own whose wall clock is wrong by so many seconds, for tests of several beats.

``python -m tests.component.beat_program DIRECTORY OFFSET_S LEASE_S ENTRIES EVERY_S DIE_AT`` runs until it is
killed.  ``DIE_AT`` names a step at which it kills itself, the third time it comes there: ``sending`` (before
the broker), ``sent`` (after it, before the store) or ``recorded``; anything else is none.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from taskd import clock
from taskd.backoff import Backoff
from taskd.beat.service import Beat
from taskd.beat.stores.base import Decision, Mark
from taskd.beat.stores.sqlite import SqliteStore
from taskd.beat.surroundings import Surroundings
from taskd.brokers.intake import Outgoing
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.sqlite.once import SqliteOnce
from taskd.brokers.timing import Timing
from taskd.config.schedule import BeatEntryConfig
from taskd.config.stores import SqliteConfig
from taskd.loop import Loop


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


class MortalOnce(SqliteOnce):
    """A publisher in whose process a death waits."""

    death = Death("")

    def publish_once(self, messages: Sequence[Outgoing], *, until: float) -> Collection[str]:
        """Send, and die before or after it."""
        self.death.comes("sending")
        refused = super().publish_once(messages, until=until)
        self.death.comes("sent")
        return refused


class MortalBroker(SqliteBroker):
    """A broker with such a publisher."""

    def once(self) -> SqliteOnce:
        """Return one."""
        return self._keep(MortalOnce(self._open_store))


class MortalStore(SqliteStore):
    """A store in whose process a death waits."""

    death = Death("")

    def record(
        self, term: int, marks: Sequence[Mark], decisions: Sequence[Decision], done: Collection[int] = ()
    ) -> None:
        """Record, and die after it."""
        super().record(term, marks, decisions, done)
        if decisions:
            self.death.comes("recorded")


def entries_of(count: int, every_s: float) -> dict[str, BeatEntryConfig]:
    """Return so many entries that send everything they missed."""
    names = [f"entry-{number}" for number in range(count)]
    return {
        name: BeatEntryConfig(name=name, task="t", every=every_s, missed="all", max_missed=10_000)
        for name in names
    }


def main() -> None:
    """Run until killed."""
    directory, offset_s, lease_s, count, every_s, die_at = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    offset = float(offset_s)
    now = lambda: clock.now() + offset  # noqa: E731
    timing = Timing(now=now)
    MortalOnce.death = MortalStore.death = Death(die_at)
    path = Path(directory)
    loop = Loop()
    around = Surroundings(
        connect=lambda: MortalBroker(f"sqlite://{path}/broker.db", SqliteConfig(), timing),
        open_store=lambda: MortalStore(f"sqlite://{path}/beat.db", SqliteConfig(), 100, timing),
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
