"""Control: the worker's end of remote control, on the wire format of kombu's pidbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.brokers.base import Mailbox
from taskd.consumer.commands.app_commands import AllCommands
from taskd.consumer.commands.permitted import Permitted
from taskd.consumer.commands.table import Commands, Subject
from taskd.consumer.moments import Moments
from taskd.consumer.neighbours.gossip import Gossip
from taskd.consumer.tasks import Tasks
from taskd.control.node import ControlNode
from taskd.protocol.pidbox import EXCHANGE


class Control(Step[None]):
    """Answers requests while the inner blueprint runs, draining included."""

    name = "Control"
    requires = (Tasks, Gossip)

    def __init__(self, subject: Subject, moments: Moments) -> None:
        self._subject = subject
        self._moments = moments
        self._mailbox: Mailbox | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def start(self, given: Given) -> None:
        """Bind this node's mailbox and watch it."""
        subject = self._subject
        mailbox = self._mailbox = subject.backends.broker.mailbox(
            # Of the process, not of the node: a successor that is called the same may be starting.
            f"{subject.facts.owner}.{EXCHANGE}",
            EXCHANGE,
            "fanout",
        )
        commands = Commands(
            subject,
            tasks=given[Tasks],
            neighbours=given.get(Gossip),
            info=lambda: {**subject.worker_info(), **given.info()},
        )
        node = ControlNode(
            mailbox,
            subject.backends.publisher,
            subject.facts.node_name,
            Permitted(
                AllCommands(subject.loop, subject.orders, subject.work, commands.table()),
                subject.work.tasks,
                subject.live.config.security.remote_control,
            ),
            subject.voice.logical,
        )
        # Revocations that this worker could not hear; from here on the mailbox hears them.
        subject.policy.revoked.load()

        def process() -> None:
            node.process()

        def bring_back(names: Sequence[str]) -> None:
            for name in names:
                commands.bring_back(name)

        self._unsubscribe = self._moments.limits_changed.subscribe(bring_back)
        subject.loop.add_reader(mailbox.fileno(), process)
        try:
            process()
        except BaseException:
            self.stop(Deadline.after(0.0))
            raise

    def stop(self, deadline: Deadline) -> None:
        """Remove the mailbox."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._mailbox is not None:
            self._subject.loop.remove_reader(self._mailbox.fileno())
            self._mailbox.close()
            self._mailbox = None
