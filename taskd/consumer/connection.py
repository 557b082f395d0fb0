"""Connection: the step that opens the claims of this worker, or takes up those that still stand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from taskd.base.blueprint import Given, Step
from taskd.base.errors import BackendError, LeaseLostError, StorageReplacedError
from taskd.base.lifecycle import Deadline
from taskd.brokers.base import Broker, Intake
from taskd.consumer.facts import WorkerFacts
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.moments import Moments
from taskd.consumer.request import Claims
from taskd.consumer.running.app_ends import AppEnds
from taskd.consumer.running.work import Work
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

    def __init__(
        self,
        facts: WorkerFacts,
        live: LiveConfig,
        broker: Broker,
        queues: Sequence[str],
        claims: Claims,
        *,
        work: Work,
        settling: Settling,
        app_ends: AppEnds,
        moments: Moments,
    ) -> None:
        self._facts = facts
        self._live = live
        self._broker = broker
        self._queues = queues
        self._claims = claims
        self._work = work
        self._settling = settling
        self._app_ends = app_ends
        self._moments = moments
        self._connected: Connected | None = None

    def start(self, given: Given) -> Connected:
        """Return the present generation's claims.  Raises ``BackendError``."""
        connected = self._connected
        if connected is not None:
            try:
                connected.intake.renew()
            except (LeaseLostError, StorageReplacedError) as error:
                self._abandon(connected, error)
                connected = None
        if connected is None:
            generation = self._claims.begin_anew()
            lease_s = self._live.worker.lease
            intake = self._broker.intake(self._facts.owner, self._queues, lease_s=lease_s)
            connected = self._connected = Connected(intake, generation)
        if self._moments.broker_found.heard_by:
            self._moments.broker_found.publish(None)
        return connected

    def _abandon(self, connected: Connected, error: Exception) -> None:
        """Forget a generation whose claims another worker has now, or nobody any more."""
        self._forget(connected)
        self._work.take_back()
        void = self._settling.void()
        logger.error(
            "claims lost, starting a new generation: %s; outcomes_void=%d still_running=%d",
            error,
            void,
            len(self._work.requests),
        )
        connected.intake.close()

    def _forget(self, connected: Connected) -> None:
        # Commands may have changed the queues: a new generation of claims looks at the same ones.
        self._queues = tuple(connected.intake.queues())
        self._connected = None

    @property
    def intake(self) -> Intake | None:
        """The present claims, if any."""
        return self._connected.intake if self._connected else None

    def distrust(self) -> None:
        """Open the claims anew at the next start, if that costs nothing: what is held stays claimed."""
        if not (self._work.requests or self._settling or self._app_ends):
            self.close()

    def close(self) -> None:
        """Give all claims back to the broker: the end of the worker, not of a connection."""
        connected = self._connected
        if connected is None:
            return
        self._forget(connected)
        try:
            connected.intake.close()
        except BackendError as error:
            logger.error("claims could not be given back (%s); they return when the lease ends", error)

    def stop(self, deadline: Deadline) -> None:
        """Keep the claims: the step may be started again.  ``close`` gives them back."""
