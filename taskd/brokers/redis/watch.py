"""Look at the messages of some queues on Redis and take none: what waits now, and what is pushed from now on.

Only reading commands are sent.  A list would not do: a message that a worker waits for never stands in one.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from taskd.brokers.redis.envelope import read
from taskd.brokers.redis.keys import step_of
from taskd.brokers.redis.posting import Exchanges
from taskd.brokers.redis.store import BrokerDatabase
from taskd.protocol.delivery import Delivery
from taskd.storage.redis.link import RedisLink
from taskd.storage.redis.monitor import Monitor

#: Messages that are read in one trip, so that the server does not stand still for others.
_BATCH = 100
#: Waiting messages that are looked at, in each list and among those of Celery workers.
_MOST_WAITING = 10_000
#: Messages that are known again when a worker puts them back.
_MOST_KNOWN = 200_000


class _Tagged(msgspec.Struct):
    delivery_tag: str | int | None = None


class _Envelope(msgspec.Struct):
    properties: _Tagged = msgspec.field(default_factory=_Tagged)


_decode = msgspec.json.Decoder(_Envelope).decode


class RedisWatch:
    """``MessageWatch`` by one connection that monitors, and one that reads what waits."""

    def __init__(self, store: BrokerDatabase, queues: Sequence[str]) -> None:
        self._store = store
        self._lists = store.keys.lists(queues)
        self._queues = queues
        self._known: dict[tuple[str, str | int], None] = {}
        self._unseen: dict[str, int] = {}
        self.closed = False
        # Before the look at what waits, or a message between the two would be seen by neither.
        self._monitor = Monitor(store.address, self._lists)
        # No keys are marked with a format: nothing is written here.
        self._link = RedisLink(store.address)
        try:
            self._waiting = self._look()
        except BaseException:
            self.close()
            raise

    @property
    def unseen(self) -> Mapping[str, int]:
        """How many messages of each queue waited and were not looked at; of no queue (""): came too fast."""
        dropped = self._monitor.dropped
        return {**self._unseen, **({"": dropped} if dropped else {})}

    # -- what waits ----------------------------------------------------------------------------

    def _look(self) -> list[Delivery]:
        found: list[Delivery] = []
        for key in self._lists:
            for raw in self._of_list(key):
                found += self._opened(key, raw)
        found += self._of_workers()
        return found

    def _of_list(self, key: str) -> Iterator[bytes]:
        """Yield what waits in a list, the next to be taken first."""
        length = int(self._link.call("LLEN", key))
        for first in range(0, min(length, _MOST_WAITING), _BATCH):
            yield from reversed(self._link.call("LRANGE", key, -first - _BATCH, -first - 1))
        if length > _MOST_WAITING:
            queue = self._store.keys.place(key)[0]
            self._unseen[queue] = self._unseen.get(queue, 0) + length - _MOST_WAITING

    def _of_workers(self) -> Iterator[Delivery]:
        """Yield what Celery workers hold: tasks that run late, and those that are not due."""
        keys = self._store.keys
        exchanges = Exchanges(self._store, self._link)
        cursor = b"0"
        looked = 0
        while looked < _MOST_WAITING:
            cursor, fields = self._link.call("HSCAN", keys.unacked, cursor, "COUNT", _BATCH)
            looked += len(fields) // 2
            for claim in fields[1::2]:
                yield from self._of_claim(exchanges, claim)
            if cursor == b"0":
                return

    def _of_claim(self, exchanges: Exchanges, claim: bytes) -> Iterator[Delivery]:
        try:
            envelope, exchange, routing_key = json.loads(claim)
            step = step_of(int(envelope["properties"].get("priority") or 0))
            raw = json.dumps(envelope).encode()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        for queue in exchanges.bound(str(exchange or ""), str(routing_key or "")):
            if queue in self._queues:
                yield from self._opened(self._store.keys.queue(queue, step), raw)

    # -- what comes ----------------------------------------------------------------------------

    def receive(self) -> Sequence[Delivery]:
        """Return what has been seen since; never waits.  Raises: ``StorageError``."""
        found, self._waiting = self._waiting, []
        if found:
            return found
        return [
            delivery for key, raw in self._monitor.receive() for delivery in self._opened(key.decode(), raw)
        ]

    def catch_up(self) -> None:
        """Wait until the server has told of all that came before this call.  Raises: ``StorageError``."""
        mark = uuid.uuid4().hex
        self._link.call("ECHO", mark)
        self._monitor.wait_for(mark)

    def _opened(self, key: str, raw: bytes) -> Iterator[Delivery]:
        """Yield a message that has not been seen: kombu's tag stays with one that is put back."""
        try:
            tag = _decode(raw).properties.delivery_tag
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            tag = None
        queue, step = self._store.keys.place(key)
        if tag:
            if (queue, tag) in self._known:
                return
            self._known[queue, tag] = None
            if len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]
        yield read(raw, 0, b"", queue, step).delivery

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have been seen."""
        return self._monitor.fileno()

    def close(self) -> None:
        """Look no more.  May be called twice."""
        if not self.closed:
            self.closed = True
            self._monitor.close()
            self._link.close()
