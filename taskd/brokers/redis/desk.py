"""The operator's desk on Redis."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice

from taskd.brokers.desk import ALL_DEAD, DeadFilter, DeadLetter, DeadMessage, QueueInfo
from taskd.brokers.redis import letter_scripts, scripts
from taskd.brokers.redis.keys import STEPS
from taskd.brokers.redis.letters import RedisLetter, passes, unfold
from taskd.brokers.redis.store import BrokerDatabase
from taskd.brokers.redis.unacked import Unacked
from taskd.protocol.delivery import LetterKind
from taskd.storage.redis.line import Argument

#: Letters or claims fetched at a time.
_BATCH = 500


class RedisDesk:
    """``Desk`` over one connection.  Safe to share between threads."""

    def __init__(self, store: BrokerDatabase) -> None:
        self._store = store
        self._link = store.link()
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._link.closed

    def queues(self) -> Sequence[QueueInfo]:
        """Return all durable queues that taskd knows, by name.

        One that only Celery's clients and workers have used so far is among them while something of it is
        with a Celery worker, or was left by one.
        """
        keys = self._store.keys
        due = self._store.due_time() or f"{self._store.now():.6f}"
        with self._lock:
            unacked = Unacked(self._store, self._link).counts()
            names = sorted({*unacked, *(name.decode() for name in self._link.call("SMEMBERS", keys.queues))})
            leases = self._link.call("ZRANGE", keys.leases, 0, -1)
            claims = [keys.claims(lease.partition(b":")[0].decode()) for lease in leases]
            lists = [key for name in names for key in keys.lists((name,))]
            delayed = [keys.delayed(name) for name in names]
            counts = self._link.run(
                scripts.COUNT, (*claims, *lists, *delayed), (len(claims), len(lists), due)
            )
            dead = Counter(letter.queue for _, letter in self._letters(LetterKind.DEAD))
            totals = [f"queue:{name}" for name in names]
            failed = self._link.call("HMGET", keys.failures[2], *totals) if names else ()
        lengths, waiting, taken = counts
        claimed: Counter[str] = Counter()
        for key, count in zip(taken[::2], taken[1::2], strict=True):
            claimed[keys.place(key.decode())[0]] += count
        found = []
        for at, name in enumerate(names):
            late, later = waiting[2 * at : 2 * at + 2]
            ready = sum(lengths[at * len(STEPS) : (at + 1) * len(STEPS)]) + late
            with_celery = unacked.get(name, 0)
            kept = int(failed[at] or 0)
            found.append(QueueInfo(name, ready, later - late, claimed[name], dead[name], kept, with_celery))
        return found

    def purge(self, queue: str) -> int:
        """Delete the ready and delayed messages of a queue; return how many."""
        keys = self._store.keys
        gone = [*keys.lists((queue,)), keys.delayed(queue)]
        with self._lock:
            return int(self._link.run(scripts.PURGE, gone, ()))

    def dead_letters(self, which: DeadFilter = ALL_DEAD, limit: int = 100) -> Sequence[DeadLetter]:
        """Return up to ``limit`` letters, the newest first."""
        with self._lock:
            found = self._matching(which, newest_first=True)
            return [letter.shown(number) for number, letter in islice(found, limit)]

    def dead_letter(self, letter_id: int) -> DeadMessage | None:
        """Return one letter with its evidence and message; None when there is none of this id."""
        with self._lock:
            for kind in LetterKind:
                data = self._link.call("HGET", self._places(kind)[0], letter_id)
                if data is not None:
                    return unfold(data, kind).whole(letter_id)
        return None

    def dead_ids(self, which: DeadFilter = ALL_DEAD) -> Sequence[int]:
        """Return the ids of letters, the oldest first."""
        with self._lock:
            return [number for number, _ in self._matching(which, newest_first=False)]

    def _matching(self, which: DeadFilter, *, newest_first: bool) -> Iterator[tuple[int, RedisLetter]]:
        ids = None if which.ids is None else set(which.ids)
        kinds = tuple(LetterKind) if which.kind is None else (which.kind,)
        found = merge(
            *(self._letters(kind, newest_first=newest_first) for kind in kinds),
            key=lambda entry: (entry[1].died_at, entry[0]),
            reverse=newest_first,
        )
        for number, letter in found:
            if (ids is None or number in ids) and passes(letter, which):
                yield number, letter

    def _places(self, kind: LetterKind) -> tuple[str, str]:
        """Return the letters of a kind, and their order by time."""
        keys = self._store.keys
        return (keys.dead, keys.dead_by_time) if kind is LetterKind.DEAD else keys.failures[:2]

    def _letters(self, kind: LetterKind, *, newest_first: bool = False) -> Iterator[tuple[int, RedisLetter]]:
        letters, by_time = self._places(kind)
        # Of equal times the set orders by text: 10 before 9.
        pairs = self._link.call("ZRANGE", by_time, 0, -1, "WITHSCORES")
        order = sorted((float(at), int(number)) for number, at in zip(pairs[::2], pairs[1::2], strict=True))
        ids = [number for _, number in (reversed(order) if newest_first else order)]
        for first in range(0, len(ids), _BATCH):
            batch = ids[first : first + _BATCH]
            for number, data in zip(batch, self._link.call("HMGET", letters, *batch), strict=True):
                if data is not None:
                    yield number, unfold(data, kind)

    def requeue_dead(self, ids: Sequence[int]) -> int:
        """Send letters to their queues again; return how many."""
        if not ids:
            return 0
        keys = self._store.keys
        with self._lock:
            used: list[str] = [keys.dead, keys.dead_by_time, *keys.failures]
            positions: dict[str, int] = {}
            steps: list[Argument] = []
            for kind in LetterKind:
                found = self._link.call("HMGET", self._places(kind)[0], *ids)
                for number, data in zip(ids, found, strict=True):
                    if data is None:
                        continue
                    letter = unfold(data, kind)
                    key = letter.key.decode()
                    if key not in positions:
                        used.append(key)
                        positions[key] = len(used)
                    steps += (number, positions[key], letter.anew())
            return int(self._link.run(letter_scripts.REVIVE, used, steps)) if steps else 0

    def purge_dead(self, ids: Sequence[int]) -> int:
        """Delete these letters; return how many there were."""
        if not ids:
            return 0
        keys = self._store.keys
        with self._lock:
            return int(
                self._link.run(letter_scripts.DROP, (keys.dead, keys.dead_by_time, *keys.failures), ids)
            )

    def close(self) -> None:
        """Release the connection."""
        with self._lock:
            self._link.close()
