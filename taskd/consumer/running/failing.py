"""The letter of a task that failed for good: what it says, and whether there is one.

Only a run that failed comes here.  The letter of a claimed message is its settlement, so that no crash comes
between the two.  A message that was acknowledged before it ran has no claim: its letter is written beside.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from taskd.base import clock
from taskd.base.safe_text import storable
from taskd.brokers.dead import size_of
from taskd.config.kinds import BrokerCan, BrokerKind
from taskd.consumer.facts import WorkerFacts
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.request import WorkerRequest
from taskd.consumer.settling.settling import Settling
from taskd.protocol.delivery import Ack, Dead, LetterKind, UnclaimedFailure

logger = logging.getLogger(__name__)

#: Of a longer traceback the beginning and the end are kept.
_FIRST_CHARS = 16_384
_LAST_CHARS = 49_152
_LONGEST_REASON = 1_000


class Failing:
    """Keeps the messages of tasks that failed, where the broker can.  For the loop's thread."""

    def __init__(self, facts: WorkerFacts, live: LiveConfig, kind: BrokerKind, settling: Settling) -> None:
        self._node_name = facts.node_name
        self._live = live
        self._can = BrokerCan.KEEP_FAILURES in kind.can
        self._settling = settling

    def settlement(
        self, request: WorkerRequest, reason: str, known: Mapping[str, object] | None = None
    ) -> Dead | Ack | None:
        """Return the settlement of a run that failed for good.

        ``known``: more about its end.  None for a message that was acknowledged before; its letter is queued.
        """
        delivery = request.delivery
        evidence = self._evidence(request, known or {}) if self._is_kept(request) else None
        if evidence is not None and not self._fits(request, evidence):
            evidence = None
        reason = reason[:_LONGEST_REASON]
        if request.acks_early:
            if evidence is not None:
                self._settling.keep_failure(UnclaimedFailure(delivery, reason, evidence))
            return None
        if evidence is None:
            return Ack(delivery.tag)
        return Dead(delivery.tag, reason, evidence, kind=LetterKind.FAILED)

    def _is_kept(self, request: WorkerRequest) -> bool:
        return self._can and request.options.keep_failures and self._live.config.failures.keep > 0.0

    def _fits(self, request: WorkerRequest, evidence: bytes) -> bool:
        delivery = request.delivery
        size = size_of(delivery.headers, delivery.body, evidence)
        most = self._live.config.failures.max_bytes
        if size > most:
            logger.warning(
                "task=%s id=%s failed, and its message is not kept: with its evidence it has %d bytes, more "
                "than [failures] max_bytes = %d",
                *(request.headers.task, request.headers.id, size, most),
            )
        return size <= most

    def _evidence(self, request: WorkerRequest, known: Mapping[str, object]) -> bytes:
        delivery = request.delivery
        facts: dict[str, object] = {
            "attempts": request.headers.retries + 1,
            "deliveries": delivery.deliveries,
            "deaths": delivery.deaths,
            "worker": self._node_name,
            "failed_at": clock.now(),
            **known,
        }
        said = {key: storable(value) if isinstance(value, str) else value for key, value in facts.items()}
        return msgspec.json.encode(said)


def shortened(traceback: str) -> str:
    """Return a traceback at a length that can be kept: where it began, and where it ended."""
    left_out = len(traceback) - _FIRST_CHARS - _LAST_CHARS
    if left_out <= 0:
        return traceback
    return f"{traceback[:_FIRST_CHARS]}\n[{left_out} characters left out]\n{traceback[-_LAST_CHARS:]}"
