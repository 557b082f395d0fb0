"""The no-op task of the RabbitMQ benchmark for Dramatiq's worker."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

dramatiq.set_broker(RabbitmqBroker(url=os.environ.get("BENCH_RABBITMQ", "")))


def noop() -> None:
    """Do nothing."""


_actor = dramatiq.actor(noop)


def fill(count: int) -> None:
    """Send tasks."""
    for _ in range(count):
        _actor.send()
