"""Claims of one worker generation on Redis.

One trip a claim: what changes in the lists from now on is to be told, then take what is there.  So a
worker that waits needs no blocking pop, which would lose what it had popped when the worker dies.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import uuid4

from taskd.brokers.intake import Delivery, Requeue, Settlement
from taskd.brokers.redis import scripts
from taskd.brokers.redis.envelope import Opened, read
from taskd.brokers.redis.keys import SEPARATOR
from taskd.brokers.redis.settling import Plan
from taskd.brokers.redis.store import Store
from taskd.errors import LeaseLostError, StorageError
from taskd.storage.redis.link import Link, Reply
from taskd.storage.redis.subscription import Subscription, tracked

logger = logging.getLogger(__name__)


class RedisIntake:
    """``Intake`` over two connections: one commands, the other listens."""

    def __init__(self, store: Store, owner: str, queues: Sequence[str], *, lease_s: float) -> None:
        self._store = store
        self._name = owner
        self._lease_s = lease_s
        self._queues: tuple[str, ...] = tuple(queues)
        self._held: dict[int, Opened] = {}
        self._lost = False
        self._next_due_at: float | None = None
        self.closed = False
        self._nudge = store.keys.own("nudge", uuid4().hex)
        self._link = Link(store.address)
        self._subscription = Subscription(store.address, channels=(self._nudge,))
        try:
            self._follow()
            self._generation = self._open()
            self.clear_wakeups()
        except BaseException:
            self._end_connections()
            raise

    def _follow(self) -> None:
        """Have the server tell when something changes in the lists; it is not vital."""
        self._tells_changes = True
        try:
            self._subscription.follow(self._link)
        except StorageError as error:
            if not self._link.is_connected:
                raise
            self._tells_changes = False
            logger.warning(
                "messages are looked for once a second only, for the server tells no changes: %s", error
            )

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
            bindings = [("SADD", keys.binding(name), SEPARATOR.join((name, "", name))) for name in queues]
            self._link.pipeline([("SADD", keys.queues, *queues), *bindings])

    @property
    def lease_s(self) -> float:
        """How long claims stay with a worker that has stopped renewing."""
        return self._lease_s

    # -- claiming ----------------------------------------------------------------------------

    def claim(self, limit: int) -> Sequence[Delivery]:
        """Return up to ``limit`` due messages, claimed."""
        if limit < 1 or not self._queues:
            return ()
        keys, store = self._store.keys, self._store
        delayed = [keys.delayed(name) for name in self._queues]
        lists = keys.lists(self._queues)
        command = scripts.CLAIM.call(
            (keys.owners, keys.leases, keys.claims(self._generation), keys.sequence, *delayed, *lists),
            (self._name, self._generation, limit, len(self._queues), store.lease_time(), store.due_time()),
        )
        answer = self._link.pipeline((command,), (scripts.CLAIM,))[0]
        if answer is None:
            raise self._lease_lost()
        (expired, due, tag), found = answer[:3], answer[3:]
        claimed = self._take(tag, found, lists)
        if len(claimed) == limit and len(self._queues) > 1:
            self._queues = (*self._queues[1:], self._queues[0])  # next time another one comes first
        if len(claimed) < limit:
            self._next_due_at = float(due) if due else None
        if expired and self._adopt(expired, runs=False) and not claimed:
            return self.claim(limit)
        return claimed

    def _take(self, tag: int, found: Sequence[Reply], lists: Sequence[str]) -> list[Delivery]:
        claimed = []
        for place_, items in zip(found[::2], found[1::2], strict=True):
            key = lists[place_ - 1]
            queue, step = self._store.keys.place(key)
            for raw in reversed(items):
                opened = read(raw, tag, key.encode(), queue, step)
                self._held[tag] = opened
                claimed.append(opened.delivery)
                tag += 1
        return claimed

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
            self._hold(int(tag), claim)
        tags = [int(tag) for tag in answer[::2]]
        if tags:
            logger.info("claims of a silent worker returned messages=%d lease=%s", len(tags), lease.decode())
            self.settle([Requeue(tag) for tag in tags])
        return bool(tags)

    # -- settling ----------------------------------------------------------------------------

    def settle(self, outcomes: Sequence[Settlement]) -> Sequence[int]:
        """Carry out all outcomes in one script; return the refused tags."""
        known: dict[int, Settlement] = {}
        refused: list[int] = []
        for outcome in outcomes:
            if outcome.tag in self._held and outcome.tag not in known:
                known[outcome.tag] = outcome
            else:
                refused.append(outcome.tag)
        if not known:
            return refused
        plan = Plan(self._store, self._generation)
        # The last of those that return to a list comes to lie outermost and is taken first.
        for tag in sorted(known, reverse=True):
            plan.add(known[tag], self._held[tag])
        if not self._link.run(scripts.SETTLE, plan.keys, plan.arguments(self._name)):
            self._lost = True
            return [outcome.tag for outcome in outcomes]
        for tag in known:
            del self._held[tag]
        return refused

    def renew(self) -> None:
        """Extend the lease of all claims; connect anew if a connection was lost."""
        keys = self._store.keys
        if self._subscription.lost or not self._link.is_connected:
            self._reconnect()
        arguments = (self._name, self._generation, self._lease_s, self._store.lease_time())
        if not self._link.run(scripts.RENEW, (keys.owners, keys.leases), arguments):
            raise self._lease_lost()

    def _reconnect(self) -> None:
        self._subscription.close()
        self._subscription = Subscription(self._store.address, channels=(self._nudge,))
        self._follow()
        self.clear_wakeups()
        # A claim whose answer was lost on the way is ours, and nobody knows of it.
        claims = self._store.keys.claims(self._generation)
        tags = {int(tag) for tag in self._link.call("HKEYS", claims)} - set(self._held)
        for tag in tags:
            self._hold(tag, self._link.call("HGET", claims, tag))
        self.settle([Requeue(tag, started=False) for tag in tags])

    def _hold(self, tag: int, claim: bytes) -> None:
        key, _, raw = claim.partition(b"\0")
        queue, step = self._store.keys.place(key.decode())
        self._held[tag] = read(raw, tag, key, queue, step)

    def _lease_lost(self) -> LeaseLostError:
        self._lost = True
        return LeaseLostError(
            f'the claims of "{self._name}" were taken over: either its lease of {self._lease_s:g} s ran out '
            "or another process started under this name; open a new intake"
        )

    # -- waiting -----------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return a descriptor that is readable when there may be something to claim."""
        return self._subscription.fileno()

    def clear_wakeups(self) -> None:
        """Make ``fileno`` unreadable until something new happens.  Raises: ``StorageError``."""
        self._subscription.receive()
        if self._tells_changes and self._queues:
            keys = self._store.keys
            self._link.pipeline(
                tracked([*keys.lists(self._queues), *(keys.delayed(name) for name in self._queues)])
            )

    def next_due_at(self) -> float | None:
        """Return when the next delayed message becomes due, as the last claim saw it."""
        return self._next_due_at if self._queues else None

    # -- looking -----------------------------------------------------------------------------

    def scheduled(self, limit: int) -> Sequence[tuple[float, Delivery]]:
        """Return up to ``limit`` delayed messages, soonest first."""
        if not self._queues or limit < 1:
            return ()
        replies = self._link.pipeline(
            [("ZRANGE", self._store.keys.delayed(name), 0, limit - 1, "WITHSCORES") for name in self._queues]
        )
        found: list[tuple[float, Delivery]] = []
        for queue, reply in zip(self._queues, replies, strict=True):
            for member, score in zip(reply[::2], reply[1::2], strict=True):
                step = int(member[24:25])
                key = self._store.keys.queue(queue, step).encode()
                found.append((float(score), read(member[25:], 0, key, queue, step).delivery))
        return sorted(found, key=lambda each: each[0])[:limit]

    def depth(self) -> int:
        """Return how many messages could be claimed now."""
        if not self._queues:
            return 0
        due = self._store.due_time() or f"{self._store.now():.6f}"
        lengths = [("LLEN", key) for key in self._store.keys.lists(self._queues)]
        delayed = [("ZCOUNT", self._store.keys.delayed(name), "-inf", due) for name in self._queues]
        return sum(self._link.pipeline([*lengths, *delayed]))

    # -- queues ------------------------------------------------------------------------------

    def queues(self) -> Sequence[str]:
        """Return the queues that ``claim`` looks at."""
        return tuple(sorted(self._queues))

    def add_queue(self, queue: str) -> None:
        """Claim from ``queue`` too."""
        if queue in self._queues:
            return
        self._declare((queue,))
        self._queues = (*self._queues, queue)
        # So that somebody looks into it: of what lies there already nobody is told.
        self._link.call("PUBLISH", self._nudge, "")

    def cancel_queue(self, queue: str) -> None:
        """Claim from ``queue`` no more."""
        self._queues = tuple(name for name in self._queues if name != queue)

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
            self._end_connections()

    def _end_connections(self) -> None:
        self._subscription.close()
        self._link.close()
