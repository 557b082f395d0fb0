"""Mingle: at start, learn from the neighbours what is revoked and how late it is.

The question is broadcast and the answers are taken as they come.  Nothing waits for them but the
first claim, and that not longer than the pool needs to start anyway.
"""

from __future__ import annotations

import logging
from functools import partial
from uuid import uuid4

from taskd.base import clock
from taskd.base.blueprint import Given, Step
from taskd.base.errors import BackendError, ProtocolError
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop, LoopTimer, Owner
from taskd.brokers.base import Mailbox
from taskd.config.kinds import BrokerCan
from taskd.consumer.backends import Backends
from taskd.consumer.claiming.intaking import Hold
from taskd.consumer.facts import WorkerFacts
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.neighbours.announcing import Events
from taskd.consumer.running.revoked_tasks import RevokedTasks
from taskd.consumer.voice import Voice
from taskd.protocol import pidbox
from taskd.protocol.delivery import Delivery, Outgoing

logger = logging.getLogger(__name__)

#: Nothing is claimed for this time, to hear first which tasks must not run.
HOLD_S = 0.2
#: Answers are taken for this time.
LISTEN_S = 3.0


class Mingle(Step[Hold]):
    """Takes part with brokers that workers of several hosts share; elsewhere ``statedb`` knows it all."""

    name = "Mingle"
    requires = (Events,)

    def __init__(
        self,
        loop: Loop,
        facts: WorkerFacts,
        live: LiveConfig,
        backends: Backends,
        voice: Voice,
        *,
        revoked: RevokedTasks,
    ) -> None:
        self._loop = loop
        self._node_name = facts.node_name
        self._live = live
        self._backends = backends
        self._logical = voice.logical
        self._revoked = revoked
        self._hold = Hold()
        self._mailbox: Mailbox | None = None
        self._timers: list[LoopTimer] = []

    def included(self) -> bool:
        """Whether there can be neighbours, and they shall be asked."""
        return self._live.worker.mingle and BrokerCan.SPAN_HOSTS in self._backends.broker.kind.can

    def start(self, given: Given) -> Hold:
        """Ask, and hold the first claim for a moment.  Raises: ``BackendError``."""
        own = str(uuid4())
        queue = f"{own}.{pidbox.REPLY_EXCHANGE}"
        self._mailbox = self._backends.broker.mailbox(queue, pidbox.REPLY_EXCHANGE, "direct", own)
        ticket = str(uuid4())
        now = clock.monotonic()
        headers, body = pidbox.encode_request(
            "hello",
            {"from_node": self._node_name, **self._revoked.tell()},
            ticket=ticket,
            reply_to=own,
            clock=self._logical.forward(),
            expires_at=clock.now() + LISTEN_S,
        )
        logger.info("mingle: asking the neighbours")
        try:
            self._backends.publisher.publish(
                [Outgoing(exchange=pidbox.EXCHANGE, routing_key="", headers=headers, body=body)]
            )
        except BaseException:
            self.stop(Deadline.after(0.0))
            raise
        self._loop.add_reader(self._mailbox.fileno(), lambda: self._hear(ticket))
        self._hold.set()
        self._timers = [
            self._loop.call_at(now + HOLD_S, self._hold.let_go),
            self._loop.call_at(now + LISTEN_S, self._end),
        ]
        return self._hold

    def _hear(self, ticket: str) -> None:
        assert self._mailbox is not None
        try:
            deliveries = self._mailbox.receive()
        except BackendError as error:
            logger.warning("mingle: answers cannot be read: %s", error)
            self._end()
            return
        for delivery in deliveries:
            take = partial(self._take, delivery, ticket)
            self._loop.attempt(take, Owner("an answer of a neighbour", _nothing_to_end))

    def _take(self, delivery: Delivery, ticket: str) -> None:
        try:
            answers, answered, logical = pidbox.decode_reply(
                delivery.body, delivery.headers, delivery.content_type
            )
        except ProtocolError as error:
            logger.warning("mingle: %s", error)
            return
        if answered == ticket:
            self._logical.adjust(logical)
            for node, answer in answers.items():
                self._sync(node, answer)

    def _sync(self, node: str, answer: object) -> None:
        if not isinstance(answer, dict) or node == self._node_name:
            return
        logical = answer.get("clock")
        if isinstance(logical, int):
            self._logical.adjust(logical)
        known = self._revoked.learn(answer)
        logger.info("mingle: in step with %s revoked=%d", node, known)

    def _end(self) -> None:
        self._hold.let_go()
        for timer in self._timers:
            timer.cancel()
        if self._mailbox is not None:
            self._loop.remove_reader(self._mailbox.fileno())
            self._mailbox.close()
            self._mailbox = None

    def stop(self, deadline: Deadline) -> None:
        """Listen no more."""
        self._end()


def _nothing_to_end(why: str) -> None:
    """An answer is over when it was heard."""
