"""Revocations in the broker's Redis, for the workers of all hosts.

``taskd:revoked:KIND`` is a sorted set of ids, names or stamps, scored by when each was revoked.  A worker
writes the revocations that it hears and reads all of them whenever its inner blueprint starts.
"""

from __future__ import annotations

from collections.abc import Iterable

from taskd.base import clock
from taskd.config.stores import RedisConfig, Stores
from taskd.revocations.known import KEEP_S, MAX_IDS, By, Revocations
from taskd.storage.redis.address import address_of
from taskd.storage.redis.line import Argument
from taskd.storage.redis.link import RedisLink
from taskd.storage.redis.marked import Marked, RedisFormats, RedisStep
from taskd.storage.redis.upkeep import KeysUpkeep

#: A step never changes once a release has it.
FORMATS = RedisFormats("revoked", (RedisStep(1, 1, ()),))


class StateKeys:
    """``State`` over one connection, which is opened at first use.  Every method raises ``StorageError``."""

    def __init__(self, url: str, config: RedisConfig) -> None:
        """Raises: ``StorageError`` for a URL that names no server; nothing is connected yet."""
        self._address = address_of(url, timeout_s=config.timeout, master=config.master)
        self._prefix = config.key_prefix
        self._link: RedisLink | None = None

    def _key(self, kind: By) -> str:
        return f"{self._prefix}taskd:revoked:{kind.value}"

    def load(self, into: Revocations) -> None:
        """Take over everything that is not too old and not known yet."""
        now = clock.monotonic()
        now_at = clock.now()
        kinds = list(By)
        commands = [
            ("ZRANGEBYSCORE", self._key(kind), f"({now_at - KEEP_S:.6f}", "+inf", "WITHSCORES")
            for kind in kinds
        ]
        for kind, row in zip(kinds, self._opened().pipeline(commands), strict=True):
            known = into[kind]
            for what, at in zip(row[::2], row[1::2], strict=True):
                name = what.decode("utf-8", "surrogatepass")
                if name not in known:
                    # Its age counts from when it was revoked, not from this start.
                    known.add((name,), now - max(0.0, now_at - float(at)))

    def add(self, kind: By, what: Iterable[str]) -> None:
        """Keep revocations, as many and as long as a worker itself would."""
        key = self._key(kind)
        now_at = clock.now()
        pairs: list[Argument] = []
        for each in what:
            pairs += (f"{now_at:.6f}", each.encode("utf-8", "surrogatepass"))
        if pairs:
            old = ("ZREMRANGEBYSCORE", key, "-inf", f"{now_at - KEEP_S:.6f}")
            many = ("ZREMRANGEBYRANK", key, 0, -MAX_IDS - 1)
            self._opened().pipeline([("ZADD", key, *pairs), old, many])

    def discard(self, kind: By, what: Iterable[str]) -> None:
        """Forget revocations, whether they are there or not."""
        members = [each.encode("utf-8", "surrogatepass") for each in what]
        if members:
            self._opened().call("ZREM", self._key(kind), *members)

    def close(self) -> None:
        """Release the connection.  May be called twice; the next call of another method opens it again."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _opened(self) -> RedisLink:
        if self._link is None:
            self._link = RedisLink(self._address, Marked(FORMATS, self._prefix))
        return self._link


def open_state(broker_url: str, stores: Stores) -> StateKeys:
    """Return what belongs to the broker of a URL; nothing is connected yet."""
    return StateKeys(broker_url, stores.redis)


def open_upkeep(broker_url: str, stores: Stores) -> KeysUpkeep:
    """Return the keys of a broker's URL for ``taskctl store``; nothing is connected yet."""
    config = stores.redis
    address = address_of(broker_url, timeout_s=config.timeout, master=config.master)
    return KeysUpkeep(address, Marked(FORMATS, config.key_prefix))
