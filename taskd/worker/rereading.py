"""Rereading: takes changed settings over while the worker goes on, those for which it need not be replaced.

The supervisor appends the new configuration to the descriptor that the worker inherited, and sends
SIGHUP.  It does so only when all that the worker was built from (pool, queues, broker ...) is the same as
before, so what is read at the time of its use may simply be exchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from taskd.base.blueprint import Given, Step
from taskd.base.errors import ConfigError
from taskd.config.schema import Config
from taskd.consumer.claiming.policy import Policy
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.moments import Moments
from taskd.worker.foundations import Configuration, MomentsStep
from taskd.worker.policies import Limits
from taskd.worker.pool_step import PoolStep, RunningPool
from taskd.worker.program import WorkerProgram
from taskd.worker.signals import Hub

logger = logging.getLogger(__name__)


class Rereading(Step[None]):
    """Takes part where somebody sends changes."""

    name = "Rereading"
    requires = (Hub, Configuration, MomentsStep, PoolStep, Limits)

    def __init__(self, program: WorkerProgram) -> None:
        self._latest = program.latest

    def included(self) -> bool:
        """Return whether changes can come."""
        return self._latest is not None

    def start(self, given: Given) -> None:
        """Exchange the configuration at each HUP from now on."""
        assert self._latest is not None
        latest = self._latest
        live = given[Configuration]
        pool = given[PoolStep]
        policy = given[Limits]
        moments = given[MomentsStep]
        given[Hub].on_reread(lambda: reread(latest, live, pool, policy, moments))


def reread(
    latest: Callable[[], Config], live: LiveConfig, pool: RunningPool, policy: Policy, moments: Moments
) -> None:
    """Exchange the configuration for the latest; one that cannot be read is logged and changes nothing."""
    try:
        config = latest()
    except ConfigError as error:
        logger.error("changed settings were not taken over: %s", error)
        return
    worker = config.workers.get(live.worker.name)
    if worker is None:
        return  # it is about to be told to leave
    pool.set_log_level(config.log.level)
    live.exchange(config, replace(worker, lease=live.worker.lease))  # it may be longer than the file's
    changed = policy.rates.configure(worker.rate_limits)
    pool.events.warn_of_unknown(name for name in changed if name in worker.rate_limits)
    moments.limits_changed.publish(changed)
    logger.info("changed settings taken over")
