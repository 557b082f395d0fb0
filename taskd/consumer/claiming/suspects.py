"""Tasks during which a whole worker died.

Pure.  Its successor learns from the ledger what was running (``taskd.worker.ledger``); when one of these
messages comes again, the death is counted against it before it runs.  Deaths of single prefork children are
the pool's to tell.

All that ran are suspects, and one was the cause.  So a task that has deaths on it runs while no other
such task does: the next death then counts against one suspect alone, and the other tasks get through.  On
prefork, where most deaths are those of single children, only the suspects of this worker take turns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

from taskd.consumer.request import Request
from taskd.pools.base import ChildLost
from taskd.protocol.delivery import Delivery

#: The longest key; a longer id is known by its digest.
MAX_KEY_BYTES = 63
#: How long a suspect waits in the broker while another one runs.
WAIT_S = 0.5


def key_of(task_id: str) -> bytes:
    """Return what stands for a task id in a place of fixed size; never empty, never with a zero byte."""
    key = task_id.encode("utf-8", "surrogatepass")
    if 0 < len(key) <= MAX_KEY_BYTES and b"\0" not in key:
        return key
    return hashlib.blake2b(key, digest_size=24).hexdigest().encode()


class Suspects:
    """The tasks that ran when the former process of this worker died; each counts once."""

    def __init__(self, keys: Iterable[bytes] = (), pid: int = 0) -> None:
        self._keys = set(keys)
        #: Suspects that have come again.
        self._counted: set[bytes] = set()
        self._among = len(self._keys)
        self._pid = pid

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self) -> Collection[bytes]:
        """Return the memory of suspects that have not come again."""
        return frozenset(self._keys)

    def take(self, delivery: Delivery, task_id: str) -> ChildLost | None:
        """Return the death that is to be counted against a message, the first time that it comes."""
        key = key_of(task_id)
        if key not in self._keys:
            return None
        self._keys.remove(key)
        self._counted.add(key)
        return ChildLost(
            delivery.tag,
            self._pid,
            started=True,
            exit_code=-1,
            signal=0,
            last_words=f"the whole worker process died while this task ran; running tasks: {self._among}",
        )

    def was_counted(self, task_id: str) -> bool:
        """Return whether a death was counted here against a task."""
        return bool(self._counted) and key_of(task_id) in self._counted


def must_wait(delivery: Delivery, held: Iterable[Request]) -> bool:
    """Return whether a message with deaths on it has to wait until another such has ended."""
    return delivery.deaths > 0 and any(request.delivery.deaths > 0 for request in held)
