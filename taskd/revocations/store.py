"""Where revocations outlive a worker: beside the broker, whatever it is, for all of its workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from taskd.base.errors import StorageError
from taskd.config.choosing import broker_kind
from taskd.config.stores import Stores
from taskd.revocations.known import By, Revocations

logger = logging.getLogger(__name__)


class RevocationStore(Protocol):
    """Revocations for all workers of one broker.  For one thread.  Methods raise ``StorageError``."""

    def load(self, into: Revocations) -> None:
        """Take over everything that is not too old and not known yet."""

    def add(self, kind: By, what: Iterable[str]) -> None:
        """Keep revocations."""

    def discard(self, kind: By, what: Iterable[str]) -> None:
        """Forget revocations, whether they are there or not."""

    def close(self) -> None:
        """Release it.  May be called twice; the next call of another method opens it again."""


class Forgiving:
    """For a worker's loop: a ``RevocationStore`` that fails costs the memory over restarts and a log line."""

    def __init__(self, state: RevocationStore) -> None:
        self._state = state

    def load(self, into: Revocations) -> None:
        """Take over everything that is not too old and not known yet."""
        with _logged():
            self._state.load(into)

    def add(self, kind: By, what: Iterable[str]) -> None:
        """Keep revocations."""
        with _logged():
            self._state.add(kind, what)

    def discard(self, kind: By, what: Iterable[str]) -> None:
        """Forget revocations, whether they are there or not."""
        with _logged():
            self._state.discard(kind, what)

    def close(self) -> None:
        """Release it.  May be called twice."""
        self._state.close()


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        logger.error("revoked tasks cannot be kept over restarts: %s", error)


def state_of(broker_url: str, stores: Stores) -> RevocationStore | None:
    """Return what belongs to a broker; None for one that keeps nothing beside its messages."""
    kind = broker_kind(broker_url)
    if not kind.revocations:
        return None
    return cast("Callable[[str, Stores], RevocationStore]", kind.load(kind.revocations))(broker_url, stores)
