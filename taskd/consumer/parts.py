"""The parts that the outer blueprint hands to the inner one; its owner alone writes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from taskd.base.loop import Loop
from taskd.consumer.backends import Backends
from taskd.consumer.claiming.policy import Policy
from taskd.consumer.commands.steering import Autoscaling
from taskd.consumer.facts import WorkerFacts
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.moments import Moments
from taskd.consumer.orders import Orders
from taskd.consumer.running.work import Work
from taskd.consumer.voice import Voice


@dataclass(frozen=True, slots=True)
class Parts:
    """For ``Consumer`` alone, which hands to each step what it uses."""

    loop: Loop
    facts: WorkerFacts
    live: LiveConfig
    orders: Orders
    moments: Moments
    work: Work
    policy: Policy
    backends: Backends
    voice: Voice
    #: Where it begins to claim.
    queues: Sequence[str]
    #: None while the pool's size is fixed.
    autoscaler: Autoscaling | None = None
    #: The part of the outer blueprint in ``inspect stats``.
    worker_info: Callable[[], Mapping[str, object]] = dict
