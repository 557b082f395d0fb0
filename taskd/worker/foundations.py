"""The steps on which all others stand: the loop, the moments, the facts, the configuration in force."""

from __future__ import annotations

from dataclasses import replace

from taskd.base import clock
from taskd.base.blueprint import Given, Step
from taskd.base.errors import BackendError
from taskd.base.ids import node_name, node_of
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop, Owner
from taskd.config.kinds import PoolTrait
from taskd.consumer.facts import WorkerFacts
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.moments import Moments
from taskd.worker.program import WorkerProgram

#: A silent worker runs tasks in the loop, which can renew nothing meanwhile: its lease must outlast any task.
#: One that dies is still recovered at once, by its successor of the same name.
_SILENT_LEASE_S = 86_400.0


class Timer(Step[Loop]):
    """Provides the loop: the clockwork of everything that follows."""

    name = "Timer"

    def __init__(self) -> None:
        self._loop: Loop | None = None

    def start(self, given: Given) -> Loop:
        """Make the loop.  An unforeseen error costs the one call, and its owner looks again."""
        # The log has said it; a broker or a store that is away is for the consumer.
        owner = Owner("one call of the worker", lambda _why: None, again=True)
        self._loop = Loop(owner, passing=(BackendError,))
        return self._loop

    def stop(self, deadline: Deadline) -> None:
        """Release the loop's descriptors."""
        if self._loop is not None:
            self._loop.close()


class MomentsStep(Step[Moments]):
    """Provides the moments, on which everything that cuts across hangs."""

    name = "Moments"

    def start(self, given: Given) -> Moments:
        """Return them; nobody has subscribed yet."""
        return Moments()


class Facts(Step[WorkerFacts]):
    """Provides what stands fast about this worker."""

    name = "Facts"

    def __init__(self, program: WorkerProgram) -> None:
        self._program = program

    def start(self, given: Given) -> WorkerFacts:
        """Return its names and when it began."""
        program = self._program
        return WorkerFacts(
            node_name=node_of(program.name, program.worker.node),
            owner=node_name(program.name),
            started_at=clock.monotonic(),
        )


class Configuration(Step[LiveConfig]):
    """Provides the configuration in force."""

    name = "Configuration"

    def __init__(self, program: WorkerProgram) -> None:
        self._program = program

    def start(self, given: Given) -> LiveConfig:
        """Return that with which the worker starts."""
        worker = self._program.worker
        if PoolTrait.SILENT in worker.kind.traits:
            worker = replace(worker, lease=max(worker.lease, _SILENT_LEASE_S))
        return LiveConfig(self._program.config, worker)
