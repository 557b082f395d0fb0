"""Claims of one worker generation on the embedded broker."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from taskd.base.errors import LeaseLostError, StorageError
from taskd.brokers.base import lease_lost
from taskd.brokers.failures import GONE_FOR_EACH
from taskd.brokers.sqlite import leases, letters, settling
from taskd.brokers.sqlite.claiming import ClaimSql, deliveries, peek, promote, take
from taskd.brokers.sqlite.queues import ensure_queue, expired_queues, sweep
from taskd.brokers.sqlite.store import BrokerFile
from taskd.protocol.delivery import Delivery, Settlement, UnclaimedFailure
from taskd.storage.sqlite.space import Space
from taskd.storage.sqlite.wake import WakeListener

logger = logging.getLogger(__name__)


class SqliteIntake:
    """``Intake`` over one file.  Wake-ups may be lost: try a claim each second or so as well."""

    def __init__(self, store: BrokerFile, owner: str, queues: Sequence[str], *, lease_s: float) -> None:
        """Take ``store`` over; it is closed with the intake."""
        self._store = store
        self._name = owner
        self._lease_s = lease_s
        self.closed = False
        self._lost = False
        #: After a wake-up or a full claim there is hardly ever nothing: looking first would only cost.
        self._expects_work = False
        with store.database.write() as connection:
            self._queues = {name: ensure_queue(connection, name) for name in queues}
            self._sql = ClaimSql.of(list(self._queues.values()))
            self._owner, woken = leases.open_owner(connection, owner, lease_s, store.timing)
        self._listener = WakeListener(store.path, self._queues.values())
        self._space = Space(store.database)
        store.wake(woken)

    @property
    def lease_s(self) -> float:
        """How long claims stay with a worker that has stopped renewing."""
        return self._lease_s

    # -- the hot path ------------------------------------------------------------------------

    def claim(self, limit: int) -> Sequence[Delivery]:
        """Return up to ``limit`` due messages, claimed.  An idle claim is one read without a lock."""
        store = self._store
        timing = store.timing
        sql = self._sql
        if limit < 1 or not (self._expects_work or self._has_work()):
            return ()
        woken: set[int] = set()
        with store.database.write() as connection:
            found = peek(connection, sql, self._owner, timing)
            if not found.own:
                raise self._lease_lost()
            if found.expired:
                woken = leases.end_expired(connection, timing, but=self._owner)
            if found.due:
                promote(connection, sql, timing)
            claimed = take(connection, sql, self._owner, limit)
        self._expects_work = len(claimed) == limit
        if woken:
            logger.info("claims of silent workers returned queues=%d owner=%s", len(woken), self._name)
            store.wake(woken)
        return claimed

    def _has_work(self) -> bool:
        """Look without a lock.  Raises: ``LeaseLostError``."""
        with self._store.database.read() as connection:
            found = peek(connection, self._sql, self._owner, self._store.timing)
        if not found.own:
            raise self._lease_lost()
        return found.work

    def settle(self, outcomes: Sequence[Settlement]) -> Sequence[int]:
        """Carry out all outcomes in one transaction; return the refused tags."""
        if not outcomes:
            return ()
        store = self._store
        with store.database.write() as connection:
            now = store.timing.now()
            settled = settling.settle(connection, self._owner, outcomes, now)
            if settled.failures:
                letters.prune(connection, store.failures, now, GONE_FOR_EACH * settled.failures)
        store.wake(settled.woken)
        return settled.refused

    def keep(self, failures: Sequence[UnclaimedFailure]) -> None:
        """Write letters of messages without a claim in one transaction."""
        store = self._store
        now = store.timing.now()
        with store.database.write() as connection:
            letters.keep(connection, failures, now)
            letters.prune(connection, store.failures, now, GONE_FOR_EACH * len(failures))

    def renew(self) -> None:
        """Extend the lease; delete what nobody needs any more, give back space, look at the file."""
        store = self._store
        store.database.check_usable()
        with store.database.read() as connection:
            expired = expired_queues(connection, store.timing)
        with store.database.write() as connection:
            if not leases.renew(connection, self._owner, self._lease_s, store.timing):
                raise self._lease_lost()
            if expired:
                sweep(connection, expired, store.timing, store.sender)
        letters.turn(store.database, store.failures, store.timing.now())
        self._space.turn(store.timing.monotonic())

    def _lease_lost(self) -> LeaseLostError:
        self._lost = True
        return lease_lost(self._name, self._lease_s)

    # -- waiting -----------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return a descriptor that is readable when there may be something to claim."""
        return self._listener.fileno()

    def clear_wakeups(self) -> None:
        """Make ``fileno`` unreadable until something new happens."""
        self._listener.clear()
        self._expects_work = True

    def next_due_at(self) -> float | None:
        """Return when the next delayed message becomes due (wall clock), or None."""
        with self._store.database.read() as connection:
            due_at = connection.execute(self._sql.next_due).fetchone()[0]
        return None if due_at is None else float(due_at)

    # -- looking -----------------------------------------------------------------------------

    def scheduled(self, limit: int) -> Sequence[tuple[float, Delivery]]:
        """Return up to ``limit`` delayed messages, soonest first."""
        with self._store.database.read() as connection:
            rows = connection.execute(self._sql.scheduled, (limit,)).fetchall()
        return list(zip((row[0] for row in rows), deliveries([row[1:] for row in rows]), strict=True))

    def advance(self, entries: Sequence[tuple[float, Delivery]], due_at: float) -> None:
        """Let delayed messages become due at ``due_at``."""
        keys = [
            (due_at, self._queues[each.queue], former, each.tag)
            for former, each in entries
            if each.queue in self._queues
        ]
        with self._store.database.write() as connection:
            connection.executemany("UPDATE delayed SET due_at=? WHERE queue=? AND due_at=? AND id=?", keys)
        self._store.wake({key[1] for key in keys})

    def depth(self) -> int:
        """Return how many messages could be claimed now."""
        with self._store.database.read() as connection:
            return int(connection.execute(self._sql.depth, (self._store.timing.now(),)).fetchone()[0])

    # -- queues ------------------------------------------------------------------------------

    def queues(self) -> Sequence[str]:
        """Return the queues that ``claim`` looks at."""
        return tuple(self._queues)

    def add_queue(self, queue: str) -> None:
        """Claim from ``queue`` too."""
        if queue in self._queues:
            return
        with self._store.database.write() as connection:
            queues = {**self._queues, queue: ensure_queue(connection, queue)}
            sql = ClaimSql.of(list(queues.values()))
        self._look_at(queues, sql)
        # Messages that arrived while the listener was not yet interested.
        self._store.wake({queues[queue]})

    def cancel_queue(self, queue: str) -> None:
        """Claim from ``queue`` no more."""
        queues = {name: number for name, number in self._queues.items() if name != queue}
        self._look_at(queues, ClaimSql.of(list(queues.values())))

    def _look_at(self, queues: dict[str, int], sql: ClaimSql) -> None:
        self._queues = queues
        self._sql = sql
        self._listener.listen_to(queues.values())

    def close(self) -> None:
        """Return all claims unstarted, end the lease and close the file."""
        if self.closed:
            return
        self.closed = True
        self._listener.close()
        store = self._store
        try:
            if not self._lost:
                with store.database.write() as connection:
                    woken = leases.end_owner(connection, self._owner, unstarted=True)
                store.wake(woken)
        except StorageError as error:
            # The lease runs out by itself: nothing is lost, it only takes longer.
            logger.warning("claims stay until the lease runs out owner=%s error=%s", self._name, error)
        finally:
            store.close()
