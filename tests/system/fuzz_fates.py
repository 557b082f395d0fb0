"""The fate of a hostile message, computed here to be compared with what a daemon did."""

from __future__ import annotations

from taskd.base import clock
from taskd.brokers.desk import Desk
from taskd.config.schema import Config
from taskd.consumer.claiming import strategy
from taskd.execution.native.execute import Executor
from taskd.protocol.delivery import Delivery, Outgoing
from taskd.protocol.execution import Assignment, End
from taskd.revocations.known import Revocations
from taskd.sending.options import TaskOptions
from tests.system.daemon import head_over
from tests.system.fuzz_app import app

# ``fate`` runs messages here, as a worker with the results of HEAD would.
app.bind_config(Config(results="sqlite://results.db"))
TASKS = {name: TaskOptions(name=name) for name in ("fuzz.any", "fuzz.length")}
HEAD = head_over(app="fuzz_app")


def fate(message: Outgoing | Delivery) -> str:
    """Return what must become of a message: ``dead``, ``delayed``, ``gone``, or ``any`` of them."""
    if b"timelimit" in message.headers:
        return "any"  # the limit may strike anywhere
    kind = (message.content_type, message.content_encoding)
    delivery = Delivery(1, "default", "", message.headers, message.body, *kind, 0, 1, 0, "", "", "", "")
    match strategy.decide(delivery, TASKS, Revocations(), clock.now()):
        case strategy.Malformed() | strategy.Unknown():
            return "dead"
        case strategy.NotDue():
            return "delayed"
        case strategy.Runnable():
            end = Executor(app, "test@here").execute(Assignment(delivery)).end
            return "dead" if end is End.REJECTED else "gone"
        case _:
            return "gone"


def is_settled(desk: Desk) -> bool:
    """Whether no message waits or is held."""
    return all(queue.ready == queue.claimed == 0 for queue in desk.queues())
