"""Claims of Celery workers, also of killed ones.

kombu notes a claim and its time in a hash, and each Celery worker puts back claims that are older than
its ``visibility_timeout``.  taskd does the same, or the last Celery worker to be killed would take its claims
with it.  The script that puts back is one step, so that kombu's lock need not be taken; while a Celery worker
has it, that one does the work.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from taskd.base import clock
from taskd.base.errors import StorageError
from taskd.brokers.redis import scripts
from taskd.brokers.redis.envelope import restored
from taskd.brokers.redis.keys import step_of
from taskd.brokers.redis.posting import Exchanges
from taskd.brokers.redis.store import BrokerDatabase
from taskd.storage.redis.line import Argument
from taskd.storage.redis.link import RedisLink

logger = logging.getLogger(__name__)

#: Time between two looks, at most.
_INTERVAL_S = 60.0


class Unacked:
    """The claims of Celery workers in one database."""

    def __init__(self, store: BrokerDatabase, link: RedisLink) -> None:
        self._store = store
        self._link = link
        self._exchanges = Exchanges(store, link)
        self._look_at = 0.0
        self._refused_by = 0
        #: Claims without a queue that are left where they are, the oldest.
        self._passed_over = 0

    def restore(self) -> int:
        """Put back what was left behind, some hundred messages at most; return how many.

        Cheap to call often: it looks once a minute.  Raises: ``StorageError`` when the connection broke.
        """
        now = clock.monotonic()
        if now < self._look_at or self._refused_by == self._link.opened:
            return 0
        self._look_at = now + min(_INTERVAL_S, self._store.visibility_s)
        try:
            return self._restore()
        except StorageError as error:
            if not self._link.is_connected:
                raise
            self._refused_by = self._link.opened  # an ACL; the connection would not be asked otherwise
            logger.warning("messages that killed Celery workers left are not put back: %s", error)
            return 0

    def _restore(self) -> int:
        keys = self._store.keys
        (seconds, microseconds), held = self._link.pipeline([("TIME",), ("EXISTS", keys.unacked_mutex)])
        if held:
            return 0
        now = int(seconds) + int(microseconds) / 1e6 if self._store.timing is None else self._store.now()
        latest = f"{now - self._store.visibility_s:.6f}"
        window = ("LIMIT", self._passed_over, scripts.MOST_AT_ONCE)
        tags = self._link.call("ZRANGEBYSCORE", keys.unacked_index, "-inf", latest, *window)
        if not tags:
            self._passed_over = 0
            return 0
        lists: list[str] = []
        steps: list[Argument] = []
        without_queue = 0
        for tag, claim in zip(tags, self._link.call("HMGET", keys.unacked, *tags), strict=True):
            step = self._step(tag, claim, lists)
            steps += step
            without_queue += not step
        if without_queue:
            self._passed_over += without_queue
            logger.warning(
                "claims of Celery workers stay in %s, because no queue is known for them messages=%d",
                keys.unacked,
                without_queue,
            )
        named = (keys.unacked, keys.unacked_index, *lists)
        count = int(self._link.run(scripts.RESTORE, named, (latest, *steps)))
        if len(tags) == scripts.MOST_AT_ONCE:
            self._look_at = 0.0
        if count:
            logger.warning(
                "messages of Celery workers that did not settle them for %.0f s returned messages=%d",
                self._store.visibility_s,
                count,
            )
        return count

    def _step(self, tag: bytes, claim: bytes | None, lists: list[str]) -> Sequence[Argument]:
        """Return the words of ``scripts.RESTORE`` for one claim; its lists are added to ``lists``.

        Nothing for a claim that belongs to no queue.
        """
        if claim is None:
            return (tag, 0, "")
        try:
            envelope, exchange, routing_key = json.loads(claim)
            raw, priority = restored(envelope)
        except (ValueError, TypeError, AttributeError, RecursionError):
            return ()
        queues = self._exchanges.bound(str(exchange or ""), str(routing_key or ""))
        if not queues:
            return ()
        positions = []
        for queue in queues:
            key = self._store.keys.queue(queue, step_of(priority))
            if key not in lists:
                lists.append(key)
            positions.append(3 + lists.index(key))
        return (tag, len(positions), *positions, raw)

    def counts(self) -> Mapping[str, int]:
        """Return how many messages of each queue are with Celery workers, or were left by them."""
        counts: Counter[str] = Counter()
        for exchange, routing_key, count in self._places():
            for queue in self._exchanges.bound(exchange, routing_key):
                counts[queue] += count
        return counts

    def _places(self) -> Iterator[tuple[str, str, int]]:
        keys = self._store.keys
        seen = 0
        while True:
            size, *found = self._link.run(scripts.UNACKED, (keys.unacked, keys.unacked_index), (seen,))
            for place, count in zip(found[::2], found[1::2], strict=True):
                exchange, _, routing_key = place.decode().partition("\0")
                yield exchange, routing_key, int(count)
            seen += size
            if size < scripts.MOST_AT_ONCE:
                return
