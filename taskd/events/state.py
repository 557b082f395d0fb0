"""The picture that events make of a cluster: which workers live, and what became of which task.

Pure: events and times come in.  Bounded, for what comes in is not ours: the tasks and workers heard of
longest ago are forgotten first.  Times are the receiver's monotonic seconds, so that no worker is
called dead because of its clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskd.protocol.events import Seen

MAX_TASKS = 10_000
MAX_WORKERS = 5_000
#: A worker is lost after this many intervals without a heartbeat, as in Celery.
_EXPIRE_INTERVALS = 2.0
_DEFAULT_FREQ_S = 60.0
_LONGEST_FREQ_S = 3600.0
#: Of what is only shown.
_LONGEST_TEXT = 200

_STATES: Mapping[str, str] = {
    "task-sent": "PENDING",
    "task-received": "RECEIVED",
    "task-started": "STARTED",
    "task-succeeded": "SUCCESS",
    "task-failed": "FAILURE",
    "task-revoked": "REVOKED",
    "task-rejected": "REJECTED",
    "task-retried": "RETRY",
}
#: A state that comes later in a task's life outranks one that arrives later.
_RANKS: Mapping[str, int] = {
    "PENDING": 0,
    "RECEIVED": 1,
    "STARTED": 2,
    "RETRY": 3,
    "REJECTED": 3,
    "REVOKED": 4,
    "FAILURE": 4,
    "SUCCESS": 4,
}


@dataclass(slots=True)
class WorkerSeen:
    """The known facts about a worker; ``expires_until`` is monotonic."""

    hostname: str
    pid: int = 0
    active: int = 0
    processed: int = 0
    software: str = ""
    freq_s: float = _DEFAULT_FREQ_S
    expires_until: float = 0.0

    def is_alive(self, now: float) -> bool:
        """Return whether it was heard of within two of its intervals, and has not said goodbye."""
        return now < self.expires_until


@dataclass(slots=True)
class TaskSeen:
    """The known facts about a task; its times are those of the sender's wall clock."""

    uuid: str
    name: str = ""
    state: str = "PENDING"
    worker: str = ""
    args: str = ""
    kwargs: str = ""
    #: The repr of the result, or of the exception.
    outcome: str = ""
    runtime_s: float | None = None
    changed_at: float = 0.0


class ClusterState:
    """Workers and tasks as events tell of them."""

    def __init__(self, max_tasks: int = MAX_TASKS, max_workers: int = MAX_WORKERS) -> None:
        self._max_tasks = max_tasks
        self._max_workers = max_workers
        self.workers: dict[str, WorkerSeen] = {}
        self.tasks: dict[str, TaskSeen] = {}

    def apply(self, event: Seen, now: float) -> None:
        """Take one event in; events of other groups change nothing."""
        if event.group == "worker":
            self._worker(event, now)
        elif event.group == "task":
            self._task(event)

    def _worker(self, event: Seen, now: float) -> None:
        worker = self.workers.pop(event.hostname, None) or WorkerSeen(event.hostname)
        self.workers[event.hostname] = worker  # at the end: it is the one heard of last
        if event.type == "worker-offline":
            worker.expires_until = now
        elif event.type in ("worker-online", "worker-heartbeat"):
            freq_s = event.number("freq")
            if freq_s is not None and 0.0 < freq_s <= _LONGEST_FREQ_S:
                worker.freq_s = freq_s
            worker.expires_until = now + worker.freq_s * _EXPIRE_INTERVALS
            worker.pid = event.pid
            worker.active = int(event.number("active") or 0)
            worker.processed = int(event.number("processed") or 0)
            worker.software = f"{event.text('sw_ident')} {event.text('sw_ver')}".strip()[:_LONGEST_TEXT]
        while len(self.workers) > self._max_workers:
            del self.workers[next(iter(self.workers))]

    def _task(self, event: Seen) -> None:
        uuid = event.text("uuid")
        if not uuid:
            return
        task = self.tasks.pop(uuid, None) or TaskSeen(uuid)
        self.tasks[uuid] = task
        for field in ("name", "args", "kwargs"):
            setattr(task, field, event.text(field) or getattr(task, field))
        state = _STATES.get(event.type)
        if state is not None and (task.state == "RETRY" or _RANKS[state] >= _RANKS[task.state]):
            task.state = state
            task.changed_at = event.timestamp
            task.outcome = event.text("result") or event.text("exception")
            task.runtime_s = event.number("runtime")
            if event.type != "task-sent":
                task.worker = event.hostname
        while len(self.tasks) > self._max_tasks:
            del self.tasks[next(iter(self.tasks))]

    def alive(self, now: float) -> list[WorkerSeen]:
        """Return the workers that are alive, by name."""
        found = (worker for worker in self.workers.values() if worker.is_alive(now))
        return sorted(found, key=lambda worker: worker.hostname)

    def forget_lost(self, now: float) -> list[WorkerSeen]:
        """Forget the workers that are not alive, and return them."""
        lost = [worker for worker in self.workers.values() if not worker.is_alive(now)]
        for worker in lost:
            del self.workers[worker.hostname]
        return lost
