"""The prefork pool: which job goes to which child, and what becomes of the jobs of a dead one.

A job goes alone to an idle child, unless its run time is known to be short.  As many short ones as make some
2 ms travel in one trip.  When no child is idle each busy one may hold one such trip more, so that it never
waits for this process.  An estimate may be wrong, so jobs that wait behind one that takes long are taken back
after some 30 ms.

Every job gets exactly one outcome, however its child dies.  Reports that were not sent are read from shared
memory, the job that was running is lost, and those behind it return to the front.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from taskd.base import clock
from taskd.base.errors import PoolError
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.pools.base import Cancelled, ChildEnd, Job, OnOutcomes, Outcome, PoolInfo, RunningJob
from taskd.pools.opening import ChildLimits, Children, OnReady
from taskd.pools.prefork import wire
from taskd.pools.prefork.crew import Crew
from taskd.pools.prefork.events import CrewEvents
from taskd.pools.prefork.handle import Child
from taskd.pools.prefork.launcher import TemplateProgram
from taskd.pools.prefork.recycling import Recycling
from taskd.pools.prefork.watch import STUCK_S, Watch

#: Short jobs travel together for this long: all of them share the system calls and wake-ups of one.
TRIP_S = 0.002
TRIP_JOBS = 256


def is_short(job: Job) -> bool:
    """Whether the job may share a trip."""
    return 0.0 < job.expected_s <= TRIP_S


def next_trip(backlog: deque[Job], most: int) -> list[Job]:
    """Take one job, or several short ones, off the backlog, which is not empty."""
    trip = [backlog.popleft()]
    if not is_short(trip[0]):
        return trip
    total_s = trip[0].expected_s
    while backlog and len(trip) < most:
        expected_s = backlog[0].expected_s
        total_s += expected_s
        if expected_s <= 0.0 or total_s > TRIP_S:
            break
        trip.append(backlog.popleft())
    return trip


def may_hold_more(child: Child, now: float) -> bool:
    """Whether a busy child has only short work in its hands, no more than one trip, and gets on."""
    in_hand = child.in_hand
    if not 0 < len(in_hand) <= TRIP_JOBS or child.load_s > TRIP_S or child.holding or child.retiring:
        return False
    if child.room <= 0:
        return False
    last = in_hand[-1]
    if last is None or not is_short(last):
        return False
    running = child.running()
    return running is None or now - running.since < STUCK_S


class PreforkPool:
    """Runs jobs in child processes.  See ``taskd.pools.base.Pool`` for the methods."""

    def __init__(
        self,
        capacity: int,
        template_argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        on_ready: Callable[[], None],
        on_hello: Callable[[bytes], None],
        on_failed: Callable[[str, str], None],
        on_death: Callable[[ChildEnd], None] = lambda _end: None,
        title: str = "",
        pass_fds: Sequence[int] = (),
        limits: ChildLimits = ChildLimits(),  # noqa: B008 - frozen
        preload: str = wire.AUTO,
    ) -> None:
        """``template_argv`` is a program that calls ``template.serve``; ``environment`` is all of its
        environment; ``pass_fds`` stay open in it.

        ``on_hello`` gets the template's blob, again after a template had to be replaced.
        ``on_failed(reason, detail)``: no template can be had, for example because the task code does
        not load; nothing will run, and the owner should end.  ``on_ready`` is called once.
        ``preload``: whether the template keeps the task code that it has loaded, see ``wire``.
        ``on_death``: a child ended that was not told to leave; the outcome of its job follows.
        """
        self.capacity = capacity
        self._program = TemplateProgram(template_argv, environment, title, pass_fds, preload)
        self._limits = limits
        self._on_ready: Callable[[], None] | None = on_ready
        self._on_hello = on_hello
        self._on_failed = on_failed
        self._on_death = on_death
        self._backlog: deque[Job] = deque()
        #: Idle children by number; the last one was busy most recently and is taken first.
        self._idle: dict[int, Child] = {}
        self._outcomes: list[Outcome] = []
        self._delivering = False
        self._held = 0
        #: Signals for jobs that could not be cancelled at once: they are on the way to a child.
        self._cancel_later: dict[int, int] = {}
        self._stopping = False

    def start(self, loop: Loop, on_outcomes: OnOutcomes) -> None:
        """Start the template; the children follow when it has loaded the target."""
        self._loop = loop
        self._on_outcomes = on_outcomes
        events = CrewEvents(
            self._on_child,
            self._look_if_ready,
            self._on_heir,
            self._on_reports,
            self._on_gone,
            self._on_hello,
            self._on_failed,
        )
        self._crew = Crew(loop, self._program, events, self._limits.max_tasks)
        self._crew.wanted = self.capacity
        self._recycling = Recycling(loop, self._crew, self._limits, self._on_child)
        self._watch = Watch(
            loop, self._crew.children, on_reports=self._on_reports, on_taken_back=self._on_taken_back
        )
        self._crew.start()

    @property
    def ready(self) -> bool:
        """Whether jobs can run: at first when all children are there, or no more can be had."""
        return self._crew.settled and self.slots > 0 and not self._stopping

    @property
    def slots(self) -> int:
        """How many children can take jobs; fewer than ``capacity`` while some are missing."""
        return len(self._crew.active())

    @property
    def held(self) -> int:
        """How many jobs have been submitted and have no outcome yet."""
        return self._held

    @property
    def stopped(self) -> bool:
        """Whether every process has ended."""
        return self._crew.stopped

    # -- jobs in ---------------------------------------------------------------------------

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs; jobs without a child wait, in order."""
        if self._stopping:
            raise PoolError("the prefork pool is stopping and takes no new job")
        self._backlog.extend(jobs)
        self._held += len(jobs)
        self._dispatch()

    def _dispatch(self) -> None:
        backlog = self._backlog
        while backlog and self._idle:
            share = -(-len(backlog) // len(self._idle))
            child = self._idle.popitem()[1]
            if not (child.retiring or child.dead or child.nonsense):
                self._send(child, next_trip(backlog, min(share, TRIP_JOBS, child.room)))
        if not backlog or not is_short(backlog[0]):
            return
        now = clock.monotonic()
        for child in list(self._crew.children.values()):  # a child that is due gets an heir meanwhile
            if may_hold_more(child, now):
                self._send(child, next_trip(backlog, min(TRIP_JOBS, child.room)))
                if not backlog or not is_short(backlog[0]):
                    return

    def _send(self, child: Child, trip: list[Job]) -> None:
        if not child.send(trip):
            self._crew.write_when_possible(child)
        self._watch.sent(child, trip)
        self._recycling.sent(child)

    # -- outcomes out ----------------------------------------------------------------------

    def _on_child(self, child: Child) -> None:
        self._idle[child.number] = child
        self._recycling.born()
        self._dispatch()
        self._look_if_ready()

    def _look_if_ready(self) -> None:
        if self._on_ready is not None and self.ready:
            on_ready, self._on_ready = self._on_ready, None
            on_ready()

    def _on_heir(self, child: Child) -> None:
        self._recycling.go_on(child)

    def _on_reports(self, child: Child, outcomes: Sequence[Outcome], returned: Sequence[Job]) -> None:
        self._outcomes.extend(outcomes)
        if self._cancel_later:
            for outcome in outcomes:  # it was done before it could be cancelled
                self._cancel_later.pop(outcome.tag, None)
        if returned:
            self._put_back(returned)
        if not child.in_hand and not child.dead:
            if child.retiring:
                child.finish()
            elif child.room > 0:
                self._idle[child.number] = child
        self._recycling.reported(child)
        if self._backlog:
            self._dispatch()  # first: the children work while the outcomes are looked at
        self._deliver()

    def _deliver(self) -> None:
        # Not from within on_outcomes: it may call cancel or submit, and is not asked to be re-entrant.
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._outcomes:
                outcomes, self._outcomes = self._outcomes, []
                self._held -= len(outcomes)
                self._on_outcomes(outcomes)
        finally:
            self._delivering = False
        if self._stopping:
            self._stop_if_done()

    def _put_back(self, jobs: Sequence[Job]) -> None:
        """Return jobs that have not begun to the front, in their order."""
        for job in reversed(jobs):
            if self._cancel_later.pop(job.tag, None) is None:
                self._backlog.appendleft(job)
            else:
                self._outcomes.append(Cancelled(job.tag, started=False))

    def _on_gone(self, child: Child) -> None:
        """Find an outcome for every job in the hands of a dead child."""
        self._watch.forget(child)
        outcomes, waiting = child.remains()
        for outcome in outcomes:
            self._cancel_later.pop(outcome.tag, None)
        self._outcomes.extend(outcomes)
        self._put_back(waiting)
        self._recycling.left(child)
        if end := child.end(outcomes[0] if outcomes else None):
            self._on_death(end)
        self._dispatch()
        self._deliver()

    def _on_taken_back(self, child: Child, jobs: Sequence[Job]) -> None:
        self._put_back(jobs)
        for tag in [job.tag for job in child.in_hand if job is not None and job.tag in self._cancel_later]:
            self._cancel_in_hand(child, tag, self._cancel_later.pop(tag))
        self._dispatch()
        self._deliver()

    # -- requests --------------------------------------------------------------------------

    def running(self) -> Sequence[RunningJob]:
        """Return the jobs that have begun, by the shared memory of each child."""
        found = (child.running() for child in self._crew.children.values())
        return [running for running in found if running is not None]

    def cancel(self, tag: int, signum: int) -> bool:
        """End one job.  A running one: its child gets ``signum`` unless 0."""
        for job in self._backlog:
            if job.tag == tag:
                self._backlog.remove(job)
                self._outcomes.append(Cancelled(tag, started=False))
                self._loop.call_soon(self._deliver)
                return True
        for child in self._crew.children.values():
            if any(job is not None and job.tag == tag for job in child.in_hand):
                self._cancel_in_hand(child, tag, signum)
                return True
        return False

    def soften(self, tag: int) -> bool:
        """Raise the soft limit in one running job, by a signal to its child."""
        return any(child.soften(tag) for child in self._crew.children.values())

    def _cancel_in_hand(self, child: Child, tag: int, signum: int) -> None:
        running = child.running()
        if running is not None and running.tag == tag:
            if not signum:
                return  # only if it had not begun
            child.verdicts[tag] = Cancelled(tag, started=True)
            child.signal(signum)
        else:
            # On its way, or just finished: ask for it back and see.
            self._cancel_later[tag] = signum
            self._watch.hold(child)

    def recall(self) -> Sequence[int]:
        """Take back the backlog.  A job on its way to a child may begin any moment: it stays."""
        tags = [job.tag for job in self._backlog]
        self._backlog.clear()
        self._held -= len(tags)
        return tags

    def resize(self, capacity: int) -> None:
        """Change the number of children; surplus ones end idle first, busy ones after their jobs."""
        self.capacity = capacity
        if not self._stopping:
            self._crew.wanted = capacity
            self._crew.muster()

    def info(self) -> PoolInfo:
        """Describe the pool."""
        crew = self._crew
        details = {
            "template": crew.template_pid,
            "preloaded": crew.preloads,
            "waiting": len(self._backlog),
            "replaced": self._recycling.info(),
        }
        return PoolInfo(
            implementation="taskd.pools.prefork.pool:PreforkPool",
            max_concurrency=self.capacity,
            processes=[child.pid for child in crew.children.values() if child.pid],
            details=details,
            children=[child.info() for child in crew.children.values() if child.pid],
        )

    # -- the end ---------------------------------------------------------------------------

    def stop(self, deadline: Deadline) -> None:
        """Finish what is held, then end; at the deadline everything is killed."""
        if self._stopping:
            return
        self._stopping = True
        if deadline.until != float("inf"):
            self._loop.call_at(deadline.until, self.kill)
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self._crew.stopped:
            return
        # Jobs may come back from a dying child when all others have been retired.
        backlog = len(self._backlog)
        self._crew.wanted = max(len(self._crew.active()), min(self.capacity, backlog)) if backlog else 0
        self._crew.muster()
        if not (backlog or self._crew.living):
            self._crew.end()

    def kill(self) -> None:
        """End every process at once.  Jobs get no outcome any more."""
        self._stopping = True
        self._crew.kill()
        self._backlog.clear()
        self._idle.clear()
        self._outcomes.clear()
        self._held = 0


def open_pool(capacity: int, children: Children, on_ready: OnReady) -> PreforkPool:
    """Return the pool, not started."""
    return PreforkPool(
        capacity,
        children.command,
        environment=children.environment,
        on_ready=on_ready,
        on_hello=children.on_hello,
        on_failed=children.on_failed,
        on_death=children.on_death,
        title=children.title,
        pass_fds=children.pass_fds,
        limits=children.limits,
        preload=children.preload,
    )
