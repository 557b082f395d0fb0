"""The brokers that the contract suite runs over, and what its tests need to say little."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
from kombu.transport.memory import Channel, Transport

from taskd.base.named import named
from taskd.brokers.amqp.broker import AmqpBroker
from taskd.brokers.amqp.pushed import PushedSource
from taskd.brokers.amqp.server import AmqpServer
from taskd.brokers.base import Broker, Intake, Mailbox
from taskd.brokers.kombu import naming
from taskd.brokers.kombu.broker import KombuBroker
from taskd.brokers.kombu.intake import KombuIntake
from taskd.brokers.kombu.server import Server
from taskd.brokers.memory.broker import MemoryBroker
from taskd.brokers.redis.broker import RedisBroker
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.timing import Timing
from taskd.config.kinds import BrokerCan
from taskd.config.stores import AmqpConfig, RedisConfig, SqliteConfig
from taskd.protocol.delivery import Delivery, Outgoing, Requeue
from tests import services
from tests.waiting import wait_until


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_at = 1_700_000_000.0
        self.monotonic_s = 1000.0
        self.boot_id = "this boot"
        self.timing = Timing(
            now=lambda: self.now_at, monotonic=lambda: self.monotonic_s, boot=lambda: self.boot_id
        )

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.now_at += seconds
        self.monotonic_s += seconds


Opener = Callable[[Path, Timing], Broker]


def _sqlite(directory: Path, timing: Timing) -> Broker:
    return SqliteBroker(f"sqlite://{directory}/broker.db", SqliteConfig(), timing)


def _memory(directory: Path, timing: Timing) -> Broker:
    return MemoryBroker(f"memory://{directory}", timing)


def _redis(directory: Path, timing: Timing) -> Broker:
    # A prefix of its own for each test; what it leaves behind is dropped with the private server.
    url = services.redis_url()
    return RedisBroker(url, RedisConfig(key_prefix=f"{directory}:"), timing)


def needs(broker: Broker, promise: BrokerCan) -> None:
    """Skip a test of a promise that the record of this broker does not give."""
    if promise not in broker.kind.can:
        pytest.skip(f"not promised here: {promise.value}")


class _PatientIntake(KombuIntake):
    """Waits for what a server is about to push, as the loop of a worker does."""

    def claim(self, limit: int) -> Sequence[Delivery]:
        found = list(super().claim(limit))
        deadline = time.monotonic() + 0.3
        while len(found) < limit:
            is_more_to_come = self._has_the_server_more()
            if is_readable(self, 0.05):
                self.clear_wakeups()
            arrived = super().claim(limit - len(found))
            found += arrived
            if not (arrived or is_more_to_come) and time.monotonic() > deadline:
                break
        return found

    def _has_the_server_more(self) -> bool:
        """Whether it has not pushed all; what it has pushed has come here when it answers this."""
        source = self._source
        if not isinstance(source, PushedSource):
            return False
        there = [queue for queue in self._queues if naming.ready_count(source._side, queue) is not None]
        return any(naming.ready_count(source._channel, queue) for queue in there)

    def scheduled(self, limit: int) -> Sequence[tuple[float, Delivery]]:
        taken = self.claim(100)  # what is not due is held from then on
        self.settle([Requeue(delivery.tag, started=False) for delivery in taken])
        return super().scheduled(limit)


class _PatientKombu(KombuBroker):
    def intake(self, owner: str, queues: Sequence[str], *, lease_s: float = 10.0) -> KombuIntake:
        source = self._source(queues, lease_s)
        return self._keep(_PatientIntake(self._server, owner, queues, source, lease_s=lease_s))


class _PatientAmqp(_PatientKombu, AmqpBroker):
    pass


def _rabbit(directory: Path, timing: Timing) -> Broker:
    return _PatientAmqp(AmqpServer(services.rabbit_url(), AmqpConfig(max_priority=9), timing))


def _kombu_memory(directory: Path, timing: Timing) -> Broker:
    Channel.queues.clear()  # of this process: kombu knows one memory only
    Transport.global_state.clear()
    return _PatientKombu(Server("kombu+memory://", AmqpConfig(), timing))


def _kombu_filesystem(directory: Path, timing: Timing) -> Broker:
    folder = str(directory)
    options = {"data_folder_in": folder, "data_folder_out": folder, "control_folder": f"{folder}/control"}
    return _PatientKombu(Server("kombu+filesystem://", AmqpConfig(transport_options=options), timing))


def _kombu_sql(directory: Path, timing: Timing) -> Broker:
    return _PatientKombu(Server(f"kombu+sqla+sqlite:///{directory}/kombu.db", AmqpConfig(), timing))


#: One line for each broker that joins.
_OURS: Mapping[str, Opener] = {
    "kombu-filesystem": _kombu_filesystem,
    "kombu-memory": _kombu_memory,
    "kombu-sql": _kombu_sql,
    "memory": _memory,
    "rabbitmq": _rabbit,
    "redis": _redis,
    "sqlite": _sqlite,
}

#: ``package.module:function`` of another package: an ``Opener``, whose broker alone is then tested.
_THEIRS = os.environ.get("TASKD_TEST_BROKER", "")
OPENERS: Mapping[str, Opener] = {_THEIRS: cast("Opener", named(_THEIRS))} if _THEIRS else _OURS


#: Those whose tests take their time; the others prove in the fast tier that the suite itself is right.
_SLOW = frozenset({"kombu-filesystem", "kombu-memory", "kombu-sql", "rabbitmq"})

#: Each of them for a fixture.
EACH = [pytest.param(name, marks=[pytest.mark.slow] if name in _SLOW else []) for name in sorted(OPENERS)]


def message(text: str = "x", queue: str = "mail", **more: Any) -> Outgoing:
    """Return a message whose body is ``text``."""
    return Outgoing(routing_key=queue, headers=b"{}", body=text.encode(), **more)


def send(broker: Broker, *messages: Outgoing) -> None:
    """Publish messages as a client does."""
    publisher = broker.publisher()
    publisher.publish(messages)
    publisher.close()


def urgent(broker: Broker) -> tuple[int, int, int]:
    """Return three priorities, the one served first at first: kombu's emulation on Redis begins with 0."""
    return (0, 5, 9) if broker.kind.most_urgent == 0 else (9, 5, 0)


def as_object(headers: bytes) -> str:
    """Return headers in one form, for brokers that keep their meaning and not their bytes."""
    try:
        return json.dumps(json.loads(headers))
    except (ValueError, RecursionError):
        return repr(headers)


class HasBody(Protocol):
    """A message, whoever has read it."""

    @property
    def body(self) -> bytes: ...


def bodies(deliveries: Iterable[HasBody]) -> list[str]:
    """Return the bodies of deliveries as texts."""
    return [delivery.body.decode() for delivery in deliveries]


def fall_asleep(intake: Intake) -> None:
    """Do what a worker does before it waits: clear the wake-ups, and claim until there is nothing."""
    intake.clear_wakeups()
    if not isinstance(intake, _PatientIntake):  # whose claims wait, and whose server pushes in any case
        assert list(intake.claim(10)) == []


#: So long a descriptor that must stay silent is watched.
SILENCE_S = 0.2


def first_claim(intake: Intake) -> Delivery:
    """Wait for a message to claim.  A descriptor is readable for part of one, and for other frames, too."""
    return wait_until(lambda: next(iter(intake.claim(1)), None), what="a message to claim")


def is_readable(source: Intake | Mailbox, within_s: float = 30.0) -> bool:
    """Return whether the wake-up descriptor is readable, or becomes so in time; ``SILENCE_S`` for never."""
    poller = select.poll()
    poller.register(source.fileno(), select.POLLIN)
    return bool(poller.poll(within_s * 1000))
