"""The values that every part of the Redis broker is given: the address, the keys and the clocks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from taskd.base import clock
from taskd.brokers.redis.keys import Keys
from taskd.brokers.timing import Timing
from taskd.config.stores import FailuresConfig, Stores
from taskd.storage.redis.address import Address, address_of
from taskd.storage.redis.link import RedisLink
from taskd.storage.redis.upkeep import KeysUpkeep

_stamped = count()


@dataclass(frozen=True, slots=True)
class BrokerDatabase:
    """One database as one configuration sees it.

    ``timing`` is None but in tests: the server's clock decides for all workers, of all hosts.
    A claim that a Celery worker has held for ``visibility_s`` counts as left behind.
    """

    address: Address
    keys: Keys
    timing: Timing | None = None
    visibility_s: float = 3600.0
    #: The bounds of letters of tasks that failed for good.
    failures: FailuresConfig = FailuresConfig()  # noqa: RUF009 - frozen

    def link(self) -> RedisLink:
        """Return a connection of its own, which is opened at the first command."""
        return RedisLink(self.address, self.keys.marked())

    def lease_time(self) -> str:
        """Return the time by which leases are judged, as the scripts take it."""
        return "" if self.timing is None else f"{self.timing.monotonic():.6f}"

    def due_time(self) -> str:
        """Return the time by which delays are judged, as the scripts take it."""
        return "" if self.timing is None else f"{self.timing.now():.6f}"

    def now(self) -> float:
        """Return the wall clock of this host."""
        return clock.now() if self.timing is None else self.timing.now()


def delayed_member(now: float, step: int, envelope: bytes) -> bytes:
    """Return the member of a delayed set: 24 digits of order, one of the step, the envelope.

    Members of equal score are handed out in the order of these digits: in the order of this call.
    """
    return f"{int(now * 1000):014d}{next(_stamped) % 10**10:010d}{step}".encode() + envelope


def open_upkeep(url: str, stores: Stores) -> KeysUpkeep:
    """Return the keys of a URL for ``taskctl store``; nothing is connected yet."""
    config = stores.redis
    address = address_of(url, timeout_s=config.timeout, master=config.master)
    return KeysUpkeep(address, Keys(config.key_prefix, address.database).marked())
