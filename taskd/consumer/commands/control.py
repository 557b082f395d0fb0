"""Control: the worker's end of remote control, on the wire format of kombu's pidbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.brokers.base import Mailbox
from taskd.consumer.commands.app_commands import AllCommands
from taskd.consumer.commands.permitted import Permitted
from taskd.consumer.commands.table import Commands
from taskd.consumer.context import Context, not_heard
from taskd.consumer.tasks import Tasks
from taskd.control.node import ControlNode

EXCHANGE = "celery.pidbox"


class Control(Step[None]):
    """Answers requests while the inner blueprint runs, draining included."""

    name = "Control"
    requires = (Tasks,)

    def __init__(self, context: Context, info: Callable[[], Mapping[str, object]]) -> None:
        self._context = context
        self._info = info
        self._mailbox: Mailbox | None = None

    def start(self, given: Given) -> None:
        """Bind this node's mailbox and watch it."""
        node_name = self._context.node_name
        mailbox = self._mailbox = self._context.broker.mailbox(
            # Of the process, not of the node: a successor that is called the same may be starting.
            f"{self._context.owner}.{EXCHANGE}",
            EXCHANGE,
            "fanout",
        )
        commands = Commands(self._context, given[Tasks], self._info)
        node = ControlNode(
            mailbox,
            self._context.publisher,
            node_name,
            Permitted(
                AllCommands(self._context, commands.table()),
                self._context.tasks,
                self._context.config.security.remote_control,
            ),
            self._context.logical,
        )
        # Revocations that this worker could not hear; from here on the mailbox hears them.
        if self._context.state is not None:
            self._context.state.load(self._context.revoked)

        def process() -> None:
            node.process()

        self._context.on_rate = commands.bring_back
        self._context.loop.add_reader(mailbox.fileno(), process)
        try:
            process()
        except BaseException:
            self.stop(Deadline.after(0.0))
            raise

    def stop(self, deadline: Deadline) -> None:
        """Remove the mailbox."""
        self._context.on_rate = not_heard
        if self._mailbox is not None:
            self._context.loop.remove_reader(self._mailbox.fileno())
            self._mailbox.close()
            self._mailbox = None
