"""Tasks: the step that claims messages and feeds the pool."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.brokers.intake import Intake
from taskd.consumer.claiming.intaking import Intaking
from taskd.consumer.claiming.selfcheck import SelfCheck
from taskd.consumer.connection import Connection
from taskd.consumer.context import Context
from taskd.consumer.running.outcomes import Outcomes
from taskd.consumer.settling.settling import Settling

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TasksGiven:
    """The running Tasks step: the inward half, and the flush of the outward one."""

    intaking: Intaking
    intake: Intake
    settling: Settling

    def flush(self) -> None:
        """Send results and settlements.  Raises ``StorageError`` or ``BrokerError``; nothing is lost."""
        refused = self.settling.flush(self.intake)
        if refused:
            logger.warning("settlements_refused=%d: their lease was taken over", len(refused))


class Tasks(Step[TasksGiven]):
    """Claims messages and feeds the pool."""

    name = "Tasks"
    requires = (Connection,)

    def __init__(self, context: Context, settling: Settling, outcomes: Outcomes) -> None:
        self._context = context
        self._settling = settling
        self._outcomes = outcomes
        self._running: TasksGiven | None = None

    def start(self, given: Given) -> TasksGiven:
        """Begin to watch the queues."""
        connected = given[Connection]
        self._outcomes.generation = connected.generation
        intaking = Intaking(self._context, connected.intake, self._settling, connected.generation)
        intaking.start()
        self._check = SelfCheck(self._context, intaking, connected.intake.depth)
        self._check.start()
        self._running = TasksGiven(intaking, connected.intake, self._settling)
        return self._running

    def quiet(self) -> None:
        """Claim nothing more."""
        if self._running is not None:
            self._running.intaking.quiet()

    def stop(self, deadline: Deadline) -> None:
        """Watch the queues no more."""
        if self._running is not None:
            self._running.intaking.stop()
            self._check.stop()
            self._running = None

    def info(self) -> dict[str, object]:
        """Return Celery's ``prefetch_count`` and ``total``, and how many of these have failed."""
        context = self._context
        return {
            "prefetch_count": context.pool.held,
            "total": dict(context.totals),
            "failed": context.failed,
        }
