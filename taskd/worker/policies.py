"""Limits: the step that provides what decides whether a task may run here."""

from __future__ import annotations

from taskd.base.blueprint import Given, Step
from taskd.consumer.claiming.policy import Policy
from taskd.consumer.claiming.rate_limits import RateLimits
from taskd.consumer.running.revoked_tasks import RevokedTasks
from taskd.worker.foundations import Configuration
from taskd.worker.ledger import LedgerStep
from taskd.worker.pool_step import PoolStep
from taskd.worker.stores import StateDB


class Limits(Step[Policy]):
    """Provides the deciders of this worker."""

    name = "Limits"
    requires = (Configuration, LedgerStep, PoolStep, StateDB)

    def start(self, given: Given) -> Policy:
        """Make them, with what the former process and the configuration say."""
        return Policy(
            RevokedTasks(given[PoolStep].work, given[StateDB]),
            RateLimits(given[Configuration].worker.rate_limits),
            given[LedgerStep].suspects,
        )
