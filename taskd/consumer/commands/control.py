"""Control: the worker's end of remote control, on the wire format of kombu's pidbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.brokers.base import Mailbox
from taskd.consumer.backends import Backends
from taskd.consumer.claiming.policy import Policy
from taskd.consumer.commands.app_commands import AllCommands
from taskd.consumer.commands.permitted import Permitted
from taskd.consumer.commands.steering import Autoscaling
from taskd.consumer.commands.table import Commands
from taskd.consumer.facts import WorkerFacts
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.moments import Moments
from taskd.consumer.neighbours.announcing import Announcer
from taskd.consumer.neighbours.gossip import Gossip
from taskd.consumer.orders import Orders
from taskd.consumer.running.work import Work
from taskd.consumer.tasks import Tasks
from taskd.consumer.voice import Voice
from taskd.control.node import ControlNode
from taskd.protocol.pidbox import EXCHANGE


class Control(Step[None]):
    """Answers requests while the inner blueprint runs, draining included."""

    name = "Control"
    requires = (Tasks, Gossip)

    def __init__(
        self,
        loop: Loop,
        facts: WorkerFacts,
        live: LiveConfig,
        orders: Orders,
        work: Work,
        *,
        policy: Policy,
        backends: Backends,
        voice: Voice,
        moments: Moments,
        announcer: Announcer,
        autoscaler: Autoscaling | None,
        worker_info: Callable[[], Mapping[str, object]],
    ) -> None:
        """``worker_info``: the part of the worker's own steps in ``inspect stats``."""
        self._loop = loop
        self._facts = facts
        self._live = live
        self._orders = orders
        self._work = work
        self._policy = policy
        self._backends = backends
        self._voice = voice
        self._moments = moments
        self._announcer = announcer
        self._autoscaler = autoscaler
        self._worker_info = worker_info
        self._mailbox: Mailbox | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def start(self, given: Given) -> None:
        """Bind this node's mailbox and watch it."""
        mailbox = self._mailbox = self._backends.broker.mailbox(
            # Of the process, not of the node: a successor that is called the same may be starting.
            f"{self._facts.owner}.{EXCHANGE}",
            EXCHANGE,
            "fanout",
        )
        commands = self._commands(given)
        node = ControlNode(
            mailbox,
            self._backends.publisher,
            self._facts.node_name,
            Permitted(
                AllCommands(self._loop, self._orders, self._work, commands.table()),
                self._work.tasks,
                self._live.config.security.remote_control,
            ),
            self._voice.logical,
        )
        # Revocations that this worker could not hear; from here on the mailbox hears them.
        self._policy.revoked.load()

        def process() -> None:
            node.process()

        def bring_back(names: Sequence[str]) -> None:
            for name in names:
                commands.bring_back(name)

        self._unsubscribe = self._moments.limits_changed.subscribe(bring_back)
        self._loop.add_reader(mailbox.fileno(), process)
        try:
            process()
        except BaseException:
            self.stop(Deadline.after(0.0))
            raise

    def _commands(self, given: Given) -> Commands:
        return Commands(
            self._loop,
            self._facts,
            self._live,
            self._orders,
            self._work,
            policy=self._policy,
            backends=self._backends,
            voice=self._voice,
            announcer=self._announcer,
            tasks=given[Tasks],
            neighbours=given.get(Gossip),
            autoscaler=self._autoscaler,
            info=lambda: {**self._worker_info(), **given.info()},
        )

    def stop(self, deadline: Deadline) -> None:
        """Remove the mailbox."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._mailbox is not None:
            self._loop.remove_reader(self._mailbox.fileno())
            self._mailbox.close()
            self._mailbox = None
