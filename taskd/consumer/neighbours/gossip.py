"""Gossip: follow the other workers by their events, and elect one of them where one must be chosen."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial

import msgspec

from taskd.base import clock
from taskd.base.blueprint import Given, Step
from taskd.base.errors import BackendError, ProtocolError
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop, LoopTimer, Owner
from taskd.config.kinds import BrokerCan
from taskd.consumer.backends import Backends
from taskd.consumer.facts import WorkerFacts
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.neighbours.announcing import Events
from taskd.consumer.neighbours.mingle import Mingle
from taskd.consumer.voice import Voice
from taskd.events.election import Elections, Nominee
from taskd.events.receiver import Receiver
from taskd.events.state import ClusterState
from taskd.protocol.events import Seen, WorkerElect, WorkerElectAck
from taskd.sending.callbacks import UNSENDABLE, message_of
from taskd.sending.signature import read_signatures

logger = logging.getLogger(__name__)

#: How often to look for workers that have fallen silent.
_LOOK_EVERY_S = 5.0
#: The longest id of an election, which is kept until it is over.
_LONGEST_ID = 500


class Neighbours:
    """The other workers as one worker sees them.  For the loop's thread."""

    def __init__(self, loop: Loop, node_name: str, backends: Backends, voice: Voice) -> None:
        self._loop = loop
        self._node_name = node_name
        self._backends = backends
        self._voice = voice
        self._receiver: Receiver | None = None
        self._state = ClusterState(max_tasks=0)
        self._elections = Elections()
        self._timer: LoopTimer | None = None

    def start(self) -> None:
        """Listen."""
        self._listen()
        self._timer = self._loop.every(_LOOK_EVERY_S, self._look)
        self._look()

    def _listen(self) -> Receiver:
        """Begin to listen, or begin anew.  Raises: ``BackendError``."""
        self._hang_up()
        receiver = self._receiver = Receiver(self._backends.broker, self._voice.logical, "worker.#")
        self._loop.add_reader(receiver.fileno(), self._hear)
        return receiver

    def _hang_up(self) -> None:
        if self._receiver is not None:
            self._loop.remove_reader(self._receiver.fileno())
            self._receiver.close()
            self._receiver = None

    def _look(self) -> None:
        self._hear()  # a wake-up may have been lost, and nobody is to be called dead for that
        for worker in self._state.forget_lost(clock.monotonic()):
            logger.info("gossip: missed the heartbeat of %s", worker.hostname)

    def _hear(self) -> None:
        try:
            seen = self._received()
        except BackendError as error:
            self._hang_up()  # until the next look
            logger.warning("gossip: events cannot be read: %s", error)
            return
        for event in seen:
            owner = Owner(f"an event of {event.hostname}", _nothing_to_end)
            self._loop.attempt(partial(self._take, event), owner)

    def _received(self) -> Sequence[Seen]:
        if self._receiver is not None:
            try:
                return self._receiver.receive()
            except BackendError as error:
                # Servers close idle connections; that alone is not a trouble.
                logger.debug("gossip: listening anew: %s", error)
        return self._listen().receive()

    def _take(self, event: Seen) -> None:
        match event.type:
            case "worker-elect":
                self._on_elect(event)
            case "worker-elect-ack":
                self._on_answer(event)
            case _ if event.hostname != self._node_name:
                self._on_worker(event)
            case _:
                pass  # our own heartbeat

    def _on_worker(self, event: Seen) -> None:
        known = event.hostname in self._state.workers
        self._state.apply(event, clock.monotonic())
        if event.type == "worker-offline":
            self._state.workers.pop(event.hostname, None)
            logger.info("gossip: %s has left", event.hostname)
        elif not known:
            logger.info("gossip: %s is there", event.hostname)

    def names(self) -> list[str]:
        """Return the names of the other workers that are alive."""
        return [worker.hostname for worker in self._state.alive(clock.monotonic())]

    # -- elections -----------------------------------------------------------------------------

    def elect(self, election: str, topic: str, action: object) -> None:
        """Ask who shall do ``action``; the worker that is chosen does it."""
        dispatcher = self._voice.dispatcher
        self._elections.ask(election)
        dispatcher.send(
            lambda: WorkerElect(
                id=election,
                topic=topic,
                action=action,
                **dispatcher.stamp(clock.now()),
            )
        )

    def _on_elect(self, event: Seen) -> None:
        election = event.text("id")
        if not election or len(election) > _LONGEST_ID:
            logger.warning(
                "gossip: election of %s has no id of 1 to %d characters", event.hostname, _LONGEST_ID
            )
            return
        call = Nominee(
            event.clock, f"{event.hostname}.{event.pid}", event.text("topic"), event.raw.get("action")
        )
        self._elections.called(election, call)
        dispatcher = self._voice.dispatcher
        dispatcher.send(lambda: WorkerElectAck(id=election, **dispatcher.stamp(clock.now())))

    def _on_answer(self, event: Seen) -> None:
        election = event.text("id")
        leader = self._elections.answered(election, event.hostname, alive=len(self.names()) + 1)
        if leader is None:
            return
        if leader.who != f"{self._node_name}.{os.getpid()}":
            logger.info("gossip: %s was elected for %s", leader.who, election)
            return
        logger.info("gossip: this worker was elected for %s", election)
        if leader.topic == "task":
            self._send_task(leader.action)
        else:
            logger.error('gossip: election topic "%s" is unknown; expected task', leader.topic)

    def _send_task(self, action: object) -> None:
        try:
            (signature,) = read_signatures([action], "election")
            message = message_of(signature)
        except (ProtocolError, msgspec.ValidationError, *UNSENDABLE) as error:
            logger.error("gossip: the elected task cannot be sent: %s", error)
            return
        try:
            self._backends.publisher.publish([message])
        except BackendError as error:
            logger.error("gossip: the elected task was not sent: %s", error)

    def stop(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._hang_up()


def _nothing_to_end(why: str) -> None:
    """An event is over when it was heard."""


class Gossip(Step[Neighbours]):
    """Takes part with brokers that workers of several hosts share."""

    name = "Gossip"
    requires = (Mingle, Events)

    def __init__(
        self, loop: Loop, facts: WorkerFacts, live: LiveConfig, backends: Backends, voice: Voice
    ) -> None:
        self._loop = loop
        self._facts = facts
        self._live = live
        self._backends = backends
        self._voice = voice
        #: None while it takes no part.
        self.neighbours: Neighbours | None = None

    def included(self) -> bool:
        """Whether there can be neighbours, and they shall be listened to."""
        return self._live.worker.gossip and BrokerCan.SPAN_HOSTS in self._backends.broker.kind.can

    def start(self, given: Given) -> Neighbours:
        """Begin to listen.  Raises: ``BackendError``."""
        neighbours = Neighbours(self._loop, self._facts.node_name, self._backends, self._voice)
        neighbours.start()
        self.neighbours = neighbours
        return neighbours

    def stop(self, deadline: Deadline) -> None:
        """Listen no more."""
        if self.neighbours is not None:
            self.neighbours.stop()
            self.neighbours = None

    def info(self) -> dict[str, object]:
        """Return who is there."""
        neighbours = self.neighbours
        return {} if neighbours is None else {"neighbours": neighbours.names()}
