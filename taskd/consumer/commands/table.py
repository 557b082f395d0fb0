"""Bind the remote-control commands of ``taskd.protocol.commands`` to one worker.

They stand by subject in ``task_queries``, ``self_report``, ``revoking``, ``steering`` and ``monitoring``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from taskd.base.loop import Loop
from taskd.consumer.backends import Backends
from taskd.consumer.claiming.policy import Policy
from taskd.consumer.commands.app_commands import app_commands
from taskd.consumer.commands.monitoring import Monitoring
from taskd.consumer.commands.revoking import Revoking
from taskd.consumer.commands.self_report import SelfReport
from taskd.consumer.commands.steering import Autoscaling, Steering
from taskd.consumer.commands.task_queries import TaskQueries
from taskd.consumer.facts import WorkerFacts
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.neighbours.announcing import Announcer
from taskd.consumer.neighbours.gossip import Neighbours
from taskd.consumer.orders import Orders
from taskd.consumer.running.app_ends import AppEnds
from taskd.consumer.running.work import Work
from taskd.consumer.tasks import TasksGiven
from taskd.consumer.voice import Voice
from taskd.protocol.commands import COMMANDS

Command = Callable[..., object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The worker as commands see it: the parts that they ask, and those that they change."""

    loop: Loop
    facts: WorkerFacts
    live: LiveConfig
    orders: Orders
    work: Work
    app_ends: AppEnds
    policy: Policy
    backends: Backends
    voice: Voice
    announcer: Announcer
    #: None while the pool's size is fixed.
    autoscaler: Autoscaling | None
    #: The part of the worker's own steps in ``inspect stats``.
    worker_info: Callable[[], Mapping[str, object]]


class Commands:
    """The commands of one worker."""

    def __init__(
        self,
        subject: Subject,
        *,
        tasks: TasksGiven,
        neighbours: Neighbours | None,
        info: Callable[[], Mapping[str, object]],
    ) -> None:
        """``info``: what ``inspect stats`` tells of all steps."""
        self._facts = subject.facts
        self._work = subject.work
        self._revoked = subject.policy.revoked
        self._logical = subject.voice.logical
        steering = Steering(
            subject.facts,
            subject.live,
            subject.orders,
            subject.work,
            subject.policy,
            broker=subject.backends.broker,
            tasks=tasks,
            autoscaler=subject.autoscaler,
        )
        #: Brings back what waits for the limit of a task, which has changed.
        self.bring_back = steering.bring_back
        #: Where each command is looked for, by its name.
        self._parts = (
            self,
            TaskQueries(subject.facts.node_name, subject.work, subject.policy, tasks, subject.app_ends),
            SelfReport(
                subject.facts,
                subject.live,
                subject.work,
                subject.voice.logical,
                subject.backends.broker.url,
                tasks=tasks,
                info=info,
            ),
            Revoking(
                subject.loop, subject.live, subject.work, subject.policy.revoked, subject.backends.results
            ),
            steering,
            Monitoring(subject.voice.dispatcher, subject.announcer, neighbours),
        )

    def ping(self) -> object:
        """Answer that the loop turns."""
        return {"ok": "pong"}

    def hello(self, from_node: str = "", **told: object) -> object:
        """Exchange with a worker that starts what is revoked; None to oneself."""
        if from_node == self._facts.node_name:
            return None
        self._revoked.learn(told)
        return {**self._revoked.tell(), "clock": self._logical.forward()}

    def commands(self) -> object:
        """Return every command with one line about it."""
        listed = {spec.name: f"{spec.kind.value}: {spec.about}" for spec in COMMANDS if not spec.hidden}
        apps = app_commands(self._work.tasks)
        return {**listed, **{name: f"{kind.value}: of the app" for name, kind in apps.items()}}

    def table(self) -> Mapping[str, Command]:
        """Return every command by its names on the wire, Celery's older ones included."""
        return {name: self._find(spec.name) for spec in COMMANDS for name in (spec.name, *spec.aliases)}

    def _find(self, name: str) -> Command:
        for part in self._parts:
            command: Command | None = getattr(part, name, None)
            if command is not None:
                return command
        raise AssertionError(f"no part of the worker has the command {name}")
