"""The words of the script that settles: what is to be done with each claim."""

from __future__ import annotations

from collections.abc import Sequence

from taskd.base.exhaustive import assert_never
from taskd.brokers.redis.envelope import OpenedEnvelope, returned
from taskd.brokers.redis.letters import in_place, park
from taskd.brokers.redis.posting import place
from taskd.brokers.redis.store import BrokerDatabase, delayed_member
from taskd.protocol.delivery import Ack, Dead, Delay, LetterKind, Replace, Requeue, Settlement
from taskd.storage.redis.line import Argument


class SettleCall:
    """One call of ``scripts.SETTLE`` in the making: its ``keys``, and its arguments."""

    def __init__(self, store: BrokerDatabase, generation: str) -> None:
        self._store = store
        self._generation = generation
        self.keys = [store.keys.owners, store.keys.claims(generation)]
        self._plain: list[int] = []
        self._steps: list[Argument] = []
        self._positions: dict[str, int] = {}
        #: How many letters of failed tasks it keeps.
        self.failures = 0

    def arguments(self, name: str) -> Sequence[Argument]:
        """Return the arguments of the script for the generation of this worker."""
        return (name, self._generation, len(self._plain), *self._plain, *self._steps)

    def add(self, outcome: Settlement, opened: OpenedEnvelope) -> None:
        """Plan what an outcome does with its claim."""
        delivery = opened.delivery
        store = self._store
        tag = outcome.tag
        match outcome:
            case Ack() if opened.once:
                self._over(tag, opened)
                self._plain.append(tag)
            case Ack():
                self._plain.append(tag)
            case Requeue(started=started, died=died):
                deliveries = delivery.deliveries - (not started)
                raw = returned(opened, deliveries=deliveries, deaths=delivery.deaths + died)
                self._steps += (tag, "RPUSH", self._position(opened.key.decode()), raw)
            case Delay(due_at=due_at, started=started):
                raw = returned(opened, deliveries=delivery.deliveries - (not started), deaths=delivery.deaths)
                member = delayed_member(store.now(), store.keys.place(opened.key.decode())[1], raw)
                key = store.keys.delayed(delivery.queue)
                self._steps += (tag, "ZADD", self._position(key), f"{due_at:.6f}", member)
            case Dead():
                if opened.once:
                    self._over(tag, opened)
                self._keep(outcome, opened)
            case Replace(message=message):
                verb, key_, *rest = place(store, message, message.routing_key, once=opened.once)
                self._steps += (tag, verb, self._position(str(key_)), *rest)
            case _:
                assert_never(outcome)

    def _keep(self, dead: Dead, opened: OpenedEnvelope) -> None:
        keys = self._store.keys
        now = self._store.now()
        letter = park(opened, dead, now)
        match dead.kind:
            case LetterKind.DEAD:
                verb = "DEAD"
                position = self._position(keys.dead, keys.dead_by_time)
            case LetterKind.FAILED:
                verb = "FAIL"
                position = self._position(*keys.failures)
                letter = in_place(opened.delivery, dead.evidence, letter)
                self.failures += 1
            case _:
                assert_never(dead.kind)
        self._steps += (dead.tag, verb, position, f"{now:.6f}", letter)

    def _over(self, tag: int, opened: OpenedEnvelope) -> None:
        self._steps += (tag, "OVER", self._position(self._store.keys.active), opened.delivery.task_id)

    def _position(self, *keys: str) -> int:
        """Return the position of a key among ``keys``, with those that belong after it."""
        if keys[0] not in self._positions:
            self._positions[keys[0]] = len(self.keys) + 1
            self.keys += keys
        return self._positions[keys[0]]
