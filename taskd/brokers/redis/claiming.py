"""The request and the answer of a claim on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskd.brokers.redis import scripts
from taskd.brokers.redis.envelope import OpenedEnvelope, read
from taskd.brokers.redis.store import BrokerDatabase
from taskd.storage.redis.line import Command, Reply


@dataclass(frozen=True, slots=True)
class Claiming:
    """The keys of some queues, in the order in which they are to be served."""

    store: BrokerDatabase
    lists: Sequence[str]
    delayed: Sequence[str]

    @classmethod
    def of(cls, store: BrokerDatabase, queues: Sequence[str]) -> Claiming:
        """Return the keys of these queues."""
        return cls(store, store.keys.lists(queues), [store.keys.delayed(name) for name in queues])

    def command(self, owner: str, generation: str, limit: int) -> Command:
        """Return the call of ``scripts.CLAIM``."""
        keys = self.store.keys
        store = self.store
        own = (keys.owners, keys.leases, keys.claims(generation), keys.sequence)
        return scripts.CLAIM.call(
            (*own, *self.delayed, *self.lists),
            (owner, generation, limit, len(self.delayed), store.lease_time(), store.due_time()),
        )

    def opened(self, tag: int, found: Sequence[Reply]) -> list[OpenedEnvelope]:
        """Return what was claimed; ``found`` is the position of each list, and its messages, in turn."""
        claimed: list[OpenedEnvelope] = []
        for place, items in zip(found[::2], found[1::2], strict=True):
            key = self.lists[place - 1]
            queue, step = self.store.keys.place(key)
            for raw in reversed(items):
                claimed.append(read(raw, tag + len(claimed), key.encode(), queue, step))
        return claimed


def held(store: BrokerDatabase, tag: int, claim: bytes) -> OpenedEnvelope:
    """Return a claim as it stands in the hash of its generation."""
    key, _, raw = claim.partition(b"\0")
    queue, step = store.keys.place(key.decode())
    return read(raw, tag, key, queue, step)
