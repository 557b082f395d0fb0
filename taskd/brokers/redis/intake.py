"""Claims of one worker generation on Redis.

One trip a claim: take what is there, and be told of what comes after that.  So a worker that waits needs no
blocking pop, which would lose what it had popped when the worker dies.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from uuid import uuid4

from taskd.base.errors import LeaseLostError, StorageError
from taskd.brokers.base import lease_lost
from taskd.brokers.failures import GONE_FOR_EACH
from taskd.brokers.redis import letter_scripts, scripts
from taskd.brokers.redis.claiming import Claiming, held
from taskd.brokers.redis.connections import RedisConnections
from taskd.brokers.redis.delayed import Delayed
from taskd.brokers.redis.envelope import OpenedEnvelope
from taskd.brokers.redis.keys import SEPARATOR
from taskd.brokers.redis.letters import of_failure
from taskd.brokers.redis.settling import SettleCall
from taskd.brokers.redis.store import BrokerDatabase
from taskd.brokers.redis.unacked import Unacked
from taskd.protocol.delivery import Delivery, Requeue, Settlement, UnclaimedFailure
from taskd.storage.redis.link import ScriptCall

logger = logging.getLogger(__name__)

#: Letters that go with each renewal of the lease; the server does nothing else meanwhile.
_PRUNED_AT_ONCE = 200


class RedisIntake:
    """``Intake`` over two connections: one commands, the other listens."""

    def __init__(self, store: BrokerDatabase, owner: str, queues: Sequence[str], *, lease_s: float) -> None:
        self._store = store
        self._name = owner
        self._lease_s = lease_s
        self._take_from(queues)
        self._held: dict[int, OpenedEnvelope] = {}
        self._lost = False
        self._next_due_at: float | None = None
        self._last_tag = 0
        self._turn = 0
        #: The last claim took all that it asked for, so there is more: nobody need tell.
        self._filled = False
        self.closed = False
        self._connections = RedisConnections(store.link(), store.keys.own("nudge", uuid4().hex))
        self._link = self._connections.link
        self._delayed = Delayed(store, self._link)
        self._unacked = Unacked(store, self._link)
        try:
            self._generation = self._open()
        except BaseException:
            self._connections.close()
            raise

    def _take_from(self, queues: Sequence[str]) -> None:
        """Claim from these queues; each of them comes first in its turn."""
        self._queues = tuple(queues)
        self._turns = [
            Claiming.of(self._store, (*queues[first:], *queues[:first])) for first in range(len(queues))
        ]

    def _open(self) -> str:
        keys = self._store.keys
        arguments = (self._name, self._lease_s, self._store.lease_time())
        generation, former = self._link.run(
            scripts.OPEN, (keys.owners, keys.leases, keys.sequence), arguments
        )
        self._generation = str(generation.decode())
        self._declare(self._queues)
        if former:
            self._adopt(f"{former.decode()}:{self._name}".encode(), runs=True)
        return self._generation

    def _declare(self, queues: Sequence[str]) -> None:
        """Make queues known to those who list them, and reachable through Celery's exchange of their name."""
        if queues:
            keys = self._store.keys
            sets = (*(keys.queues for _ in queues), *map(keys.binding, queues))
            members = (*queues, *(SEPARATOR.join((name, "", name)) for name in queues))
            self._link.run(scripts.REGISTER, (keys.exchanges, *sets), ("", "", *members))

    @property
    def lease_s(self) -> float:
        """How long claims stay with a worker that has stopped renewing."""
        return self._lease_s

    # -- claiming ----------------------------------------------------------------------------

    def claim(self, limit: int) -> Sequence[Delivery]:
        """Return up to ``limit`` due messages, claimed."""
        if limit < 1 or not self._queues:
            return ()
        self._mend()
        claimed: list[Delivery] = []
        try:
            self._claim(limit, claimed)
            while not (self._filled or self._connections.told):
                self._claim(limit, claimed)
        except StorageError:
            if not claimed:
                raise
            # Claimed messages must run; the fault will show at the next call, too.
        if self._filled and len(self._queues) > 1:
            self._turn += 1  # next time another one comes first
        return claimed

    def _claim(self, limit: int, claimed: list[Delivery]) -> None:
        """Claim once more, until there are ``limit``."""
        claiming = self._turns[self._turn % len(self._turns)]
        command = claiming.command(self._name, self._generation, limit - len(claimed))
        if self._filled or self._connections.told:
            answer = self._link.pipeline((command,), (scripts.CLAIM,))[0]
        else:
            answer = self._connections.listen(command, (scripts.CLAIM,), claiming.lists, claiming.delayed)
        if answer is None:
            raise self._lease_lost()
        (expired, due, tag) = answer[:3]
        found = answer[3:]
        claimed += [self._hold(each) for each in claiming.opened(tag, found)]
        self._filled = len(claimed) == limit
        if not self._filled:
            self._next_due_at = float(due) if due else None
        if expired and self._adopt(expired, runs=False) and not claimed:
            self._claim(limit, claimed)

    def _hold(self, opened: OpenedEnvelope) -> Delivery:
        delivery = opened.delivery
        self._held[delivery.tag] = opened
        self._last_tag = max(self._last_tag, delivery.tag)
        return delivery

    def _adopt(self, lease: bytes, *, runs: bool) -> bool:
        """Give back what another generation held; return whether there was anything."""
        keys = self._store.keys
        other = lease.partition(b":")[0].decode()
        own = keys.claims(self._generation)
        answer = self._link.run(
            scripts.ADOPT,
            (keys.owners, keys.leases, keys.claims(other), own),
            (self._name, self._generation, lease, self._store.lease_time(), int(runs)),
        )
        if answer is None:
            raise self._lease_lost()
        for tag, claim in zip(answer[::2], answer[1::2], strict=True):
            self._hold(held(self._store, int(tag), claim))
        tags = [int(tag) for tag in answer[::2]]
        if tags:
            logger.info("claims of a silent worker returned messages=%d lease=%s", len(tags), lease.decode())
            self.settle([Requeue(tag) for tag in tags])
        return bool(tags)

    # -- settling ----------------------------------------------------------------------------

    def settle(self, outcomes: Sequence[Settlement]) -> Sequence[int]:
        """Carry out all outcomes in one script; return the refused tags."""
        return self.settle_after(None, outcomes)

    def settle_after(self, results: ScriptCall | None, outcomes: Sequence[Settlement]) -> Sequence[int]:
        """Write results and carry out all outcomes in one script; return the refused tags."""
        known: dict[int, Settlement] = {}
        refused: list[int] = []
        for outcome in outcomes:
            if outcome.tag in self._held and outcome.tag not in known:
                known[outcome.tag] = outcome
            else:
                refused.append(outcome.tag)
        if not known and results is None:
            return refused
        self._mend()
        return refused if self._settle(known, results) else [outcome.tag for outcome in outcomes]

    def _settle(self, known: Mapping[int, Settlement], results: ScriptCall | None = None) -> bool:
        """Carry out what concerns claims that are held; False when the lease is lost."""
        plan = SettleCall(self._store, self._generation)
        # The last of those that return to a list comes to lie outermost and is taken first.
        for tag in sorted(known, reverse=True):
            plan.add(known[tag], self._held[tag])
        if not self._link.run_after(results, scripts.SETTLE, plan.keys, plan.arguments(self._name)):
            self._lost = True
            return False
        for tag in known:
            del self._held[tag]
        if plan.failures:
            self._prune(GONE_FOR_EACH * plan.failures)
        return True

    def keep(self, failures: Sequence[UnclaimedFailure]) -> None:
        """Write letters of messages without a claim in one script."""
        self._mend()
        keys = self._store.keys
        now = self._store.now()
        letters = [of_failure(each, keys, now) for each in failures]
        self._link.run(letter_scripts.KEEP, (keys.sequence, *keys.failures), (f"{now:.6f}", *letters))
        self._prune(GONE_FOR_EACH * len(failures))

    def _prune(self, most: int) -> None:
        """Take failed letters beyond their bounds away; a later turn makes good what fails here."""
        bounds = self._store.failures
        since = f"{self._store.now() - bounds.keep:.6f}"
        try:
            self._link.run(
                letter_scripts.PRUNE, self._store.keys.failures, (since, bounds.max, bounds.max_bytes, most)
            )
        except StorageError as error:
            logger.info("letters of failed tasks beyond their bounds stay for now: %s", error)

    def renew(self) -> None:
        """Extend the lease of all claims; connect anew if a connection was lost.

        Now and then put back what killed Celery workers have left.  Delete letters beyond their bounds.
        """
        self._mend()
        self._link.check_format()
        keys = self._store.keys
        arguments = (self._name, self._generation, self._lease_s, self._store.lease_time())
        if not self._link.run(scripts.RENEW, (keys.owners, keys.leases), arguments):
            raise self._lease_lost()
        self._prune(_PRUNED_AT_ONCE)
        if self._unacked.restore():
            self._connections.nudge()  # of its own changes nobody tells this worker

    def _mend(self) -> None:
        """Connect anew if a connection was lost: what the server tells us hangs on both."""
        if not self._connections.whole:
            self._connections.renew()
            self._recover()
            self._connections.settled()
            self._connections.nudge()  # so that somebody claims: nothing is told before

    def _recover(self) -> None:
        """Give back what was claimed by a call whose answer was lost: it is ours, and nobody knows of it."""
        keys = self._store.keys
        claims = keys.claims(self._generation)
        reply = self._link.run(scripts.RECOVER, (claims, keys.sequence), (self._last_tag,))
        tags = sorted({int(tag) for tag in reply} - set(self._held))
        for first in range(0, len(tags), scripts.MOST_AT_ONCE):
            batch = tags[first : first + scripts.MOST_AT_ONCE]
            found = dict(zip(batch, self._link.call("HMGET", claims, *batch), strict=True))
            for tag, claim in found.items():
                if claim is not None:
                    self._hold(held(self._store, tag, claim))
            self._settle({tag: Requeue(tag, started=False) for tag in found if tag in self._held})
            logger.info("claims whose answer was lost returned messages=%d", len(found))

    def _lease_lost(self) -> LeaseLostError:
        self._lost = True
        return lease_lost(self._name, self._lease_s)

    # -- waiting -----------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return a descriptor that is readable when there may be something to claim."""
        return self._connections.fileno()

    def clear_wakeups(self) -> None:
        """Make ``fileno`` unreadable.  Raises: ``StorageError``."""
        self._mend()
        self._connections.clear()

    def next_due_at(self) -> float | None:
        """Return when the next delayed message becomes due, as the last claim saw it."""
        return self._next_due_at if self._queues else None

    # -- looking -----------------------------------------------------------------------------

    def scheduled(self, limit: int) -> Sequence[tuple[float, Delivery]]:
        """Return up to ``limit`` delayed messages, soonest first."""
        if not self._queues or limit < 1:
            return ()
        self._mend()
        return self._delayed.first(self._queues, limit)

    def advance(self, entries: Sequence[tuple[float, Delivery]], due_at: float) -> None:
        """Let delayed messages, as the last ``scheduled`` returned them, become due at ``due_at``."""
        self._mend()
        self._delayed.advance([each for _, each in entries], due_at)
        self._connections.nudge()

    def depth(self) -> int:
        """Return how many messages could be claimed now."""
        if not self._queues:
            return 0
        self._mend()
        due = self._store.due_time() or f"{self._store.now():.6f}"
        lengths = [("LLEN", key) for key in self._store.keys.lists(self._queues)]
        delayed = [("ZCOUNT", self._store.keys.delayed(name), "-inf", due) for name in self._queues]
        return sum(self._link.pipeline([*lengths, *delayed]))

    # -- queues ------------------------------------------------------------------------------

    def queues(self) -> Sequence[str]:
        """Return the queues that ``claim`` looks at."""
        return self._queues

    def add_queue(self, queue: str) -> None:
        """Claim from ``queue`` too."""
        if queue in self._queues:
            return
        self._declare((queue,))
        self._take_from((*self._queues, queue))
        # So that somebody looks into it: of what lies there already nobody is told.
        self._connections.nudge()

    def cancel_queue(self, queue: str) -> None:
        """Claim from ``queue`` no more."""
        self._take_from(tuple(name for name in self._queues if name != queue))

    def close(self) -> None:
        """Return all claims unstarted, end the lease and close the connections."""
        if self.closed:
            return
        self.closed = True
        try:
            if not self._lost:
                self.settle([Requeue(tag, started=False) for tag in self._held])
                keys = self._store.keys
                own = (keys.owners, keys.leases, keys.claims(self._generation))
                self._link.run(scripts.CLOSE, own, (self._name, self._generation))
        except StorageError as error:
            # The lease runs out by itself: nothing is lost, it only takes longer.
            logger.warning("claims stay until the lease runs out owner=%s error=%s", self._name, error)
        finally:
            self._connections.close()
