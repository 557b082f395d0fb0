"""Sending once over Redis: the ids stand in a set beside the lists, and one script looks at both."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from taskd.base import clock
from taskd.base.errors import TooLateError
from taskd.brokers.redis import scripts
from taskd.brokers.redis.envelope import seal
from taskd.brokers.redis.keys import step_of
from taskd.brokers.redis.store import BrokerDatabase
from taskd.protocol.delivery import Outgoing
from taskd.storage.redis.line import Argument


class RedisOnce:
    """``OncePublisher`` over one connection, which is open from the start."""

    def __init__(self, store: BrokerDatabase) -> None:
        """Connect, so that a server that cannot be used is known now.  Raises: ``StorageError``."""
        self._store = store
        self._link = store.link()
        self._ahead()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._link.closed

    def _ahead(self) -> float:
        """Return by how much the server's clock is ahead of this host's monotonic one, at least."""
        if self._store.timing is not None:
            return 0.0
        seconds, microseconds = self._link.call("TIME")
        # The server looked at its clock earlier than this: too small by the way back, never too large.
        return int(seconds) + int(microseconds) / 1e6 - clock.monotonic()

    def publish_once(self, messages: Sequence[Outgoing], *, until: float) -> Collection[str]:
        """Push the messages whose ids are new, in one script; return the ids that were refused.

        The server compares ``until`` with its own clock: a process that was stopped before it sent, or a
        packet that was, comes too late.
        """
        timing = self._store.timing
        ahead_s = self._ahead()  # anew: either clock may have been set
        now = "" if timing is None else f"{timing.monotonic():.6f}"
        own = self._store.keys
        keys: list[str] = [own.once, own.active, own.queues]
        steps: list[Argument] = []
        for message in {message.task_id: message for message in messages}.values():
            queue = message.routing_key
            key = own.queue(queue, step_of(message.priority))
            if key not in keys:
                keys.append(key)
            steps += (message.task_id, queue, 1 + keys.index(key), seal(message, queue, once=True))
        refused = self._link.run(scripts.ONCE, keys, (f"{until + ahead_s:.6f}", now, *steps))
        if refused is None:
            raise TooLateError
        return {task_id.decode() for task_id in refused}

    def active(self, task_ids: Collection[str]) -> Collection[str]:
        """Return those of the ids whose message is in a queue or claimed.

        One that a Celery worker ran is not known to be over.
        """
        ids = list(task_ids)
        commands = [("SISMEMBER", self._store.keys.active, task_id) for task_id in ids]
        replies = self._link.pipeline(commands) if commands else []
        return frozenset(task_id for task_id, active in zip(ids, replies, strict=True) if active)

    def forget(self, older_than_s: float) -> None:
        """Forget ids by the server's clock, in short steps."""
        keys = self._store.keys
        now = self._store.timing.monotonic() if self._store.timing else float(self._link.call("TIME")[0])
        passed_over = 0
        seen = scripts.MOST_AT_ONCE
        while seen == scripts.MOST_AT_ONCE:
            arguments = (f"{now - older_than_s:.6f}", passed_over)
            seen, kept = self._link.run(scripts.FORGET, (keys.once, keys.active), arguments)
            passed_over += kept

    def close(self) -> None:
        """Release the connection."""
        self._link.close()
