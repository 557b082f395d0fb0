"""Heart: renews the lease, and says that the loop turns and how loaded it is.

To the supervisor by lines on the status descriptor, to monitors and neighbours by worker events.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from heapq import nsmallest

from taskd.base import clock
from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop, LoopTimer
from taskd.consumer.connection import Connection
from taskd.consumer.neighbours.announcing import FREQ_S, Announcer, Events
from taskd.consumer.orders import Orders
from taskd.consumer.running.app_ends import AppEnds
from taskd.consumer.running.statistics import RunTimes, Tally
from taskd.consumer.running.work import Work
from taskd.consumer.voice import Voice
from taskd.host.resident import resident_bytes
from taskd.pools.base import ChildInfo, Pool, RunningJob
from taskd.protocol.status import MAX_CHILDREN, MAX_RUNNING, ChildState, Heartbeat, RunningTask

#: While tasks run the supervisor hears from us this often,
BUSY_INTERVAL_S = 1.0
#: and this often when nothing happens, so that an idle daemon sleeps.
IDLE_INTERVAL_S = 15.0
#: However long the lease is: with its renewal, an intake also keeps its file or its keys in order.
LONGEST_RENEWAL_S = 5.0


class Heart(Step[None]):
    """Beats while the inner blueprint runs.  A tick in the loop, so a hung loop falls silent."""

    name = "Heart"
    requires = (Connection, Events)

    def __init__(
        self,
        loop: Loop,
        orders: Orders,
        work: Work,
        tally: Tally,
        run_times: RunTimes,
        *,
        app_ends: AppEnds,
        voice: Voice,
        announcer: Announcer,
    ) -> None:
        self._loop = loop
        self._orders = orders
        self._work = work
        self._tally = tally
        self._run_times = run_times
        self._app_ends = app_ends
        self._voice = voice
        self._announcer = announcer
        self._renewal: LoopTimer | None = None
        self._beat: LoopTimer | None = None
        #: Tasks done, open ends, quiet, pids.
        self._last_seen: tuple[int, int, bool, tuple[int, ...]] = (-1, 0, False, ())
        self._pulse: LoopTimer | None = None
        self._last_beat_at = -math.inf

    def start(self, given: Given) -> None:
        """Begin to renew and to report."""
        intake = given[Connection].intake
        loop = self._loop
        announcer = self._announcer

        def tick() -> None:
            now = clock.monotonic()
            pool = self._work.pool
            ends = len(self._app_ends)
            seen = (self._tally.done, ends, self._orders.quiet, tuple(pool.info().processes))
            busy = pool.held > 0 or ends > 0 or seen != self._last_seen
            if busy or now - self._last_beat_at >= IDLE_INTERVAL_S:
                self._last_beat_at = now
                self._last_seen = seen
                self._voice.report(self._heartbeat(intake.depth()))

        self._last_beat_at = -math.inf
        # The call that may fail comes first: a timer left behind would act for a blueprint that is down.
        tick()
        announcer.online()
        self._beat = loop.every(BUSY_INTERVAL_S, tick)
        self._renewal = loop.every(min(intake.lease_s / 3, LONGEST_RENEWAL_S), intake.renew)
        self._pulse = loop.every(FREQ_S, announcer.heartbeat)

    def _heartbeat(self, depth: int) -> Heartbeat:
        """Return the load of the worker at this moment."""
        work = self._work
        running = work.pool.running()
        now = clock.monotonic()
        pids = own_pids(work.pool)
        trouble = self._app_ends.trouble()
        return Heartbeat(
            busy=len(running),
            reserved=max(0, work.pool.held - len(running)),
            depth=depth,
            done=self._tally.done,
            failed=self._tally.failed,
            running=running_tasks(work, running, now),
            children=child_states(work, running, now),
            oldest_s=max((now - each.since for each in running), default=0.0),
            mean_s=self._run_times.mean_s,
            quiet=self._orders.quiet,
            rss_bytes=resident_bytes(pids),
            pids=pids,
            troubles=() if trouble is None else (trouble,),
        )

    def stop(self, deadline: Deadline) -> None:
        """Fall silent."""
        for timer in (self._renewal, self._beat, self._pulse):
            if timer is not None:
                timer.cancel()


def running_tasks(work: Work, running: Sequence[RunningJob], now: float) -> Sequence[RunningTask]:
    """Return the longest-running tasks, oldest first."""
    rows = []
    for job in nsmallest(MAX_RUNNING, running, key=lambda job: job.since):
        request = work.requests.get(job.tag)
        if request is not None:
            headers = request.headers
            rows.append(RunningTask(headers.id, headers.task, job.pid, now - job.since))
    return rows


def child_states(work: Work, running: Sequence[RunningJob], now: float) -> Sequence[ChildState]:
    """Return how each process of the pool fares; this process is the only one of a pool without any."""
    oldest = {job.pid: job for job in sorted(running, key=lambda job: job.since, reverse=True)}
    info = work.pool.info()
    children = [ChildInfo(pid, heard=now) for pid in info.processes if pid == os.getpid()] or info.children
    return [_child_state(work, child, oldest.get(child.pid), now) for child in children[:MAX_CHILDREN]]


def _child_state(work: Work, child: ChildInfo, job: RunningJob | None, now: float) -> ChildState:
    request = None if job is None else work.requests.get(job.tag)
    state = "heir" if child.heir else "leaving" if child.leaving else "idle" if job is None else "running"
    return ChildState(
        pid=child.pid,
        state=state,
        id=request.headers.id if request else "",
        name=request.headers.task if request else "",
        since_s=max(0.0, now - (job.since if job is not None else child.heard)),
        heard_s=max(0.0, now - child.heard),
    )


def own_pids(pool: Pool) -> list[int]:
    """Return the pids of this worker and its pool."""
    return [os.getpid(), *(pid for pid in pool.info().processes if pid != os.getpid())]
