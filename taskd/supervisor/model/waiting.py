"""Waits of programs for one another: the keys ``after`` and ``requires``, and the daemon's own READY.

A pure decider over what the programs are at this moment.  ``after`` waits for the others to become
ready and goes on without those that will not: stopped, failed, or not ready within their
``start_timeout``.  ``requires`` goes on only when they are ready.  A program that has ended as it
should and is not started again, such as a migration, counts as ready for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from taskd.config.process import ProcessConfig
from taskd.supervisor.model.machine import State


@dataclass(frozen=True, slots=True)
class Standing:
    """How one program stands.  ``give_up_at``: the monotonic time from which nobody waits for its start.

    ``is_done``: it has ended as it should and is not started again; ``is_over``: it will not be
    started again, however it ended.
    """

    name: str
    state: State
    wanted: bool
    give_up_at: float
    is_done: bool = False
    is_over: bool = False
    #: It runs tasks, for which the daemon is there.
    is_worker: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether what depends on it can work."""
        return self.state is State.READY or self.is_done

    def is_settled(self, now: float) -> bool:
        """Whether waiting for it makes no sense: it is ready, or will not be in time."""
        return (
            self.is_ready
            or not self.wanted
            or self.is_over
            or self.state is State.FAILED
            or now >= self.give_up_at
        )


def waits_for(settings: ProcessConfig, members: Callable[[str], Iterable[Standing]], now: float) -> str:
    """Return in words what a program that could start waits for; empty when it need not wait.

    ``members`` answers with all programs of a group.
    """
    for group in settings.requires:
        # No program needs a process that the load does not need at the moment.
        wanted = [each for each in members(group) if each.wanted] or members(group)
        missing = next((each for each in wanted if not each.is_ready), None)
        if missing is not None:
            return f"waits for {missing.name}, which it requires ({missing.state.value})"
    for group in settings.after:
        missing = next((each for each in members(group) if not each.is_settled(now)), None)
        if missing is not None:
            return f"waits until {missing.name} is ready ({missing.state.value})"
    return ""


def needed(alive: Iterable[ProcessConfig]) -> frozenset[str]:
    """Return the groups that living programs waited for at the start.

    At the end of the daemon those programs are stopped first.
    """
    return frozenset(group for each in alive for group in (*each.after, *each.requires))


def is_up(programs: Sequence[Standing], now: float) -> bool:
    """Return whether the daemon has started: nothing is left to wait for, and something works.

    One broken program holds nobody up; but where no worker works, there is nothing to report: beat or an
    exporter alone does nobody's tasks.
    """
    wanted = [each for each in programs if each.wanted]
    needed_one = [each for each in wanted if each.is_worker] or wanted
    return all(each.is_settled(now) for each in wanted) and (
        not wanted or any(each.is_ready for each in needed_one)
    )


def next_look(programs: Iterable[Standing], now: float) -> float:
    """Return when ``is_settled`` of some program changes by itself, monotonic; inf if never."""
    to_come = [each.give_up_at for each in programs if each.wanted and each.give_up_at > now]
    return min(to_come, default=math.inf)
