"""Where revocations outlive a worker: beside the broker, whatever it is, for all of its workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from taskd.config.stores import REDIS_SCHEMES, Stores
from taskd.consumer.revoked import By, Revocations


class State(Protocol):
    """What is revoked, for all workers of one broker.

    One that cannot be used costs the memory over restarts and nothing else: errors are logged.
    """

    def load(self, into: Revocations) -> None:
        """Take over everything that is not too old and not known yet."""

    def add(self, kind: By, what: Iterable[str]) -> None:
        """Keep revocations."""

    def discard(self, kind: By, what: Iterable[str]) -> None:
        """Forget revocations, whether they are there or not."""

    def close(self) -> None:
        """Release it.  May be called twice; the next call of another method opens it again."""


def state_of(broker_url: str, stores: Stores) -> State | None:
    """Return what belongs to a broker; None for one that keeps nothing beside its messages."""
    scheme = broker_url.partition("://")[0]
    if scheme in REDIS_SCHEMES:
        from taskd.consumer.statekeys import StateKeys

        return StateKeys(broker_url, stores.redis)
    if scheme == "sqlite":
        from taskd.consumer.statedb import SUFFIX, StateFile
        from taskd.storage.sqlite import path_of

        return StateFile(path_of(broker_url) + SUFFIX, stores.sqlite)
    return None
