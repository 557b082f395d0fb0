"""Where a task is that has not ended: running, claimed, or delayed, as far as anybody can say.

The daemon of this host is asked first, which knows what the children of pools run; then the workers, over the
broker.  On any trouble nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from taskd.base import clock
from taskd.base.errors import TaskdError
from taskd.cli import children
from taskd.cli.output import age, printable
from taskd.cli.remote import ask, consuming_here
from taskd.config.kinds import BrokerCan
from taskd.config.schema import Config
from taskd.supervisor.control.client import ControlClient

#: How long workers may take to answer.
_PATIENCE_S = 1.0


class TaskStage(Enum):
    """How far a task has come; the names are those of ``query_task``."""

    RUNS = "active"
    CLAIMED = "reserved"
    DELAYED = "scheduled"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The place of one task."""

    stage: TaskStage
    #: The program or the node that has it.
    place: str
    pid: int | None = None
    #: How long it has run.
    for_s: float | None = None

    def __str__(self) -> str:
        match self.stage:
            case TaskStage.RUNS:
                process = "" if self.pid is None else f", process {self.pid}"
                since = "" if self.for_s is None else f", for {age(self.for_s)} so far"
                return printable(f"it runs in {self.place}{process}{since}")
            case TaskStage.CLAIMED:
                return printable(f"{self.place} has claimed it and has not begun it")
            case TaskStage.DELAYED:
                return printable(f"it is not due yet; {self.place} serves its queue")


def locate(config: Config, task_id: str) -> Whereabouts | None:
    """Return where the task is; None when nobody has it, or nobody can be asked."""
    try:
        return _in_a_child(config, task_id) or _at_a_worker(config, task_id)
    except TaskdError:
        return None


def _in_a_child(config: Config, task_id: str) -> Whereabouts | None:
    try:
        with ControlClient(config.supervisor.control_socket) as client:
            rows = children.fetch(client)
    except TaskdError:
        return None
    return next(
        (Whereabouts(TaskStage.RUNS, row.program, row.pid, row.since_s) for row in rows if row.id == task_id),
        None,
    )


def _at_a_worker(config: Config, task_id: str) -> Whereabouts | None:
    if BrokerCan.SPAN_HOSTS not in config.broker_kind.can and not consuming_here(config):
        return None
    answers = ask(config, "query_task", {"ids": [task_id]}, destination=(), timeout_s=_PATIENCE_S)
    found = [each for node, answer in answers.items() if (each := _read(node, answer, task_id))]
    order = list(TaskStage)
    return min(found, key=lambda each: order.index(each.stage), default=None)


def _read(node: str, answer: object, task_id: str) -> Whereabouts | None:
    match answer:
        case {**by_id} if task_id in by_id:
            match by_id[task_id]:
                case [str(stage), {**facts}] if stage in {each.value for each in TaskStage}:
                    pid = facts.get("worker_pid")
                    began_at = facts.get("time_start")
                    return Whereabouts(
                        TaskStage(stage),
                        node,
                        pid if isinstance(pid, int) else None,
                        clock.now() - began_at if isinstance(began_at, (int, float)) else None,
                    )
    return None
