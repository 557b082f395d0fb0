"""The brokers that the contract suite runs over, and what its tests need to say little."""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from pathlib import Path

from taskd.brokers.base import Broker, Mailbox
from taskd.brokers.intake import Intake, Outgoing
from taskd.brokers.memory.broker import MemoryBroker
from taskd.brokers.redis.broker import RedisBroker
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.timing import Timing
from taskd.config.stores import RedisConfig, SqliteConfig
from tests import services


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


#: One line for each broker that joins.
OPENERS: Mapping[str, Opener] = {"memory": _memory, "redis": _redis, "sqlite": _sqlite}


def message(text: str = "x", queue: str = "mail", **more: object) -> Outgoing:
    """Return a message whose body is ``text``."""
    return Outgoing(routing_key=queue, headers=b"{}", body=text.encode(), **more)  # type: ignore[arg-type]


def urgent(broker: Broker) -> tuple[int, int, int]:
    """Return three priorities, the one served first at first: kombu's emulation on Redis begins with 0."""
    return (0, 5, 9) if isinstance(broker, RedisBroker) else (9, 5, 0)


def bodies(deliveries: object) -> list[str]:
    """Return the bodies of deliveries as texts."""
    return [delivery.body.decode() for delivery in deliveries]  # type: ignore[attr-defined]


def is_readable(source: Intake | Mailbox, within_s: float = 0.2) -> bool:
    """Return whether the wake-up descriptor is readable, or becomes so in time."""
    poller = select.poll()
    poller.register(source.fileno(), select.POLLIN)
    return bool(poller.poll(within_s * 1000))
