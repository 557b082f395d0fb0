"""Sending once within one process."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from taskd.base.errors import TooLateError
from taskd.brokers.memory.hub import MemoryHub
from taskd.brokers.timing import Timing
from taskd.protocol.delivery import Outgoing


class MemoryOnce:
    """``OncePublisher`` over a hub."""

    def __init__(self, hub: MemoryHub, timing: Timing) -> None:
        self._hub = hub
        self._timing = timing

    def publish_once(self, messages: Sequence[Outgoing], *, until: float) -> Collection[str]:
        """Put the messages whose ids are new into their queues; return the ids that were refused."""
        with self._hub.lock:
            if self._timing.monotonic() >= until:
                raise TooLateError
            known = {each.task_id for each in messages if each.task_id in self._hub.sent_once}
            fresh = {each.task_id: each for each in messages if each.task_id not in known}
            now = self._timing.now()
            self._hub.post(tuple(fresh.values()), now)
            self._hub.sent_once.update(dict.fromkeys(fresh, now))
            return known

    def active(self, task_ids: Collection[str]) -> Collection[str]:
        """Return those of the ids whose message is in a queue or claimed."""
        with self._hub.lock:
            return self._hub.task_ids() & frozenset(task_ids)

    def forget(self, older_than_s: float) -> None:
        """Forget the ids of messages that are over."""
        with self._hub.lock:
            before_at = self._timing.now() - older_than_s
            kept = self._hub.task_ids()
            self._hub.sent_once = {
                task_id: sent_at
                for task_id, sent_at in self._hub.sent_once.items()
                if sent_at >= before_at or task_id in kept
            }

    def close(self) -> None:
        """Do nothing: there is no connection."""
