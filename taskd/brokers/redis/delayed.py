"""Messages that are not due yet: looks at them, and makes them due sooner."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from taskd.brokers.redis.envelope import read
from taskd.brokers.redis.store import BrokerDatabase
from taskd.protocol.delivery import Delivery
from taskd.storage.redis.link import RedisLink


class Delayed:
    """The view of one intake; it remembers what it showed last."""

    def __init__(self, store: BrokerDatabase, link: RedisLink) -> None:
        self._store = store
        self._link = link
        self._shown: dict[int, tuple[str, bytes]] = {}

    def first(self, queues: Sequence[str], limit: int) -> Sequence[tuple[float, Delivery]]:
        """Return up to ``limit`` messages with the time when they are due, soonest first."""
        self._shown = {}
        replies = self._link.pipeline(
            [("ZRANGE", self._store.keys.delayed(name), 0, limit - 1, "WITHSCORES") for name in queues]
        )
        found: list[tuple[float, str, bytes]] = []
        for queue, reply in zip(queues, replies, strict=True):
            members = zip(reply[::2], reply[1::2], strict=True)
            found += [(float(score), queue, member) for member, score in members]
        return [
            (at, self._show(queue, member)) for at, queue, member in sorted(found, key=itemgetter(0))[:limit]
        ]

    def _show(self, queue: str, member: bytes) -> Delivery:
        # 24 digits of order, one of the step, the envelope (store.delayed_member).
        tag = int(member[:24])
        step = int(member[24:25])
        self._shown[tag] = (self._store.keys.delayed(queue), member)
        return read(member[25:], tag, self._store.keys.queue(queue, step).encode(), queue, step).delivery

    def advance(self, deliveries: Sequence[Delivery], due_at: float) -> None:
        """Let those of the deliveries that were shown last and still wait become due at ``due_at``."""
        shown = [self._shown[each.tag] for each in deliveries if each.tag in self._shown]
        # XX: one that was claimed meanwhile does not come back.
        commands = [("ZADD", key, "XX", f"{due_at:.6f}", member) for key, member in shown]
        if commands:
            self._link.pipeline(commands)
