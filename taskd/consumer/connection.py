"""Connection: the step that opens the claims of this worker, or takes up those that still stand."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from taskd.base.blueprint import Given, Step
from taskd.base.errors import BrokerError, LeaseLostError, StorageError, StorageReplacedError
from taskd.base.lifecycle import Deadline
from taskd.brokers.intake import Intake
from taskd.consumer.context import Context
from taskd.consumer.settling.settling import Settling

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connected:
    """The claims of this worker, and which generation of them it is."""

    intake: Intake
    generation: int


class Connection(Step[Connected]):
    """Opens the intake, or takes up the former one when its lease still stands.

    A worker that lost sight of its broker for a moment keeps its claims: what ran meanwhile is
    settled, not run twice.
    """

    name = "Connection"

    def __init__(self, context: Context, settling: Settling) -> None:
        self._context = context
        self._settling = settling
        self._connected: Connected | None = None
        self._generation = 0

    def start(self, given: Given) -> Connected:
        """Return the present generation's claims.  Raises ``BrokerError`` or ``StorageError``."""
        if self._connected is not None:
            try:
                self._connected.intake.renew()
            except (LeaseLostError, StorageReplacedError) as error:
                self._abandon(self._connected, error)
            else:
                return self._connected
        self._generation += 1
        intake = self._context.broker.intake(
            self._context.owner, self._context.queues, lease_s=self._context.worker.lease
        )
        self._connected = Connected(intake, self._generation)
        return self._connected

    def _abandon(self, connected: Connected, error: Exception) -> None:
        """Forget a generation whose claims another worker has now, or nobody any more."""
        self._connected = None
        for tag in self._context.pool.recall():
            self._context.requests.pop(tag, None)
        void = self._settling.void()
        logger.error(
            "claims lost, starting a new generation: %s; outcomes_void=%d still_running=%d",
            error,
            void,
            len(self._context.requests),
        )
        connected.intake.close()

    @property
    def intake(self) -> Intake | None:
        """The present claims, if any."""
        return self._connected.intake if self._connected else None

    def distrust(self) -> None:
        """Open the claims anew at the next start, if that costs nothing: what is held stays claimed."""
        if not self._context.requests and not self._settling:
            self.close()

    def close(self) -> None:
        """Give all claims back to the broker: the end of the worker, not of a connection."""
        if self._connected is None:
            return
        try:
            self._connected.intake.close()
        except (BrokerError, StorageError) as error:
            logger.error("claims could not be given back (%s); they return when the lease ends", error)
        self._connected = None

    def stop(self, deadline: Deadline) -> None:
        """Keep the claims: the step may be started again.  ``close`` gives them back."""
