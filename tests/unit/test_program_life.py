"""State table, restart policy and steps of a stop together: no process is lost or doubled, ever.

A model of the shell carries the effects out; what it is made to go through is what operators, kernels and
broken programs do, in any order and at any moment.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskd.base.backoff import Backoff
from taskd.config.process import RESTARTS
from taskd.supervisor.model.machine import ALIVE, Effect, LifeEvent, Outlook, State, due, step
from taskd.supervisor.model.restart import PROBE_S, RestartPolicy
from taskd.supervisor.model.stopping import StopPolicy

START_S = 60.0
SILENCE_S = 60.0
DELAY_MAX_S = 30.0
STOP = StopPolicy(warm_s=300.0, cold_s=2.0)


class ProgramLife(RuleBasedStateMachine):
    """One program; ``until`` is when its one timer fires, and ``fires`` what it says then."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.state = State.DOWN
        self.wanted = False
        self.blocked = False
        self.process = False
        self.killed = False
        self.can_fork = True
        self.ready_since: float | None = None
        self.counted = False
        self.until = math.inf
        self.fires: LifeEvent | None = None
        self.starts = 0

    @initialize(when=st.sampled_from(RESTARTS), jitter=st.floats(0.0, 1.0))
    def configure(self, when: str, jitter: float) -> None:
        backoff = Backoff(0.1, DELAY_MAX_S, uniform=lambda low, high: low + (high - low) * jitter)
        self.policy = RestartPolicy(intensity=3, period_s=60.0, backoff=backoff, when=when)

    # -- the shell ---------------------------------------------------------------------------

    def feed(self, event: LifeEvent) -> None:
        self.state, effects = step(self.state, event)
        for effect in effects:
            self.carry_out(effect)

    def carry_out(self, effect: Effect) -> None:
        match effect:
            case Effect.SPAWN:
                assert not self.process, "a second process was started"
                self.counted = self.counted and not self.can_fork
                self.process, self.killed, self.ready_since = self.can_fork, False, None
                self.starts += self.can_fork
            case Effect.TERM | Effect.QUIT:
                assert self.process, "a signal was sent to nobody"
            case Effect.KILL:
                assert self.process, "a signal was sent to nobody"
                self.killed = True
            case Effect.COUNT:
                since = self.ready_since
                self.policy.count(self.now, ready_s=None if since is None else self.now - since)
                self.counted = True
            case Effect.AWAIT_READY:
                self.arm(self.now + START_S, LifeEvent.HUNG)
            case Effect.AWAIT_HEARTBEAT:
                self.arm(self.now + SILENCE_S, LifeEvent.HUNG)
            case Effect.AWAIT_EXIT:
                self.arm(STOP.until(self.state, self.now), LifeEvent.OVERDUE)
            case Effect.AWAIT_START:
                self.arm(self.policy.not_before, None)
            case Effect.REST:
                self.arm(math.inf, None)

    def arm(self, until: float, fires: LifeEvent | None) -> None:
        self.until, self.fires = until, fires

    def outlook(self) -> Outlook:
        outlook = self.policy.outlook(self.now)
        return Outlook.BLOCKED if outlook is Outlook.NOW and self.blocked else outlook

    def reconcile(self) -> None:
        for _ in range(10):
            event = due(self.state, wanted=self.wanted, outlook=self.outlook())
            if event is None:
                return
            self.feed(event)
            if self.state is State.STARTING and not self.process:
                self.feed(LifeEvent.SPAWN_FAILED)
        pytest.fail("reconcile does not come to rest")

    def end(self, code: int | None) -> None:
        self.process = False
        self.feed(LifeEvent.EXITED)
        if self.counted:
            self.policy.ended(code=code)
        self.reconcile()

    # -- what happens ------------------------------------------------------------------------

    @rule(wanted=st.booleans())
    def operator_wants(self, wanted: bool) -> None:
        if wanted:
            self.policy.forgive()
        self.wanted = wanted
        self.reconcile()

    @rule()
    def operator_restarts(self) -> None:
        self.policy.forgive()
        self.wanted = True
        self.feed(LifeEvent.STOP)
        self.reconcile()

    @rule(event=st.sampled_from([LifeEvent.COLD, LifeEvent.OVERDUE]))
    def daemon_is_in_a_hurry(self, event: LifeEvent) -> None:
        self.wanted = False
        self.feed(event)
        self.reconcile()

    @precondition(lambda self: self.process)
    @rule(event=st.sampled_from([LifeEvent.READY, LifeEvent.WAITING, LifeEvent.DRAINING, LifeEvent.HUNG]))
    def program_says(self, event: LifeEvent) -> None:
        if event is LifeEvent.READY and self.ready_since is None:
            self.ready_since = self.now
        self.feed(event)
        self.reconcile()

    @precondition(lambda self: self.process)
    @rule(code=st.sampled_from([0, 1, None]))
    def program_ends(self, code: int | None) -> None:
        self.end(code)

    @rule(event=st.sampled_from([LifeEvent.READY, LifeEvent.HUNG, LifeEvent.OVERDUE, LifeEvent.SPAWN_FAILED]))
    def late_news_of_a_process_that_is_gone(self, event: LifeEvent) -> None:
        if not self.process:
            self.feed(event)
            self.reconcile()

    @rule(can_fork=st.booleans())
    def machine_runs_out_of_processes_or_recovers(self, can_fork: bool) -> None:
        self.can_fork = can_fork

    @rule(blocked=st.booleans())
    def another_program_is_missing_or_ready(self, blocked: bool) -> None:
        self.blocked = blocked
        self.reconcile()

    @rule(seconds=st.floats(0.0, 400.0))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            if self.killed and self.process:
                self.end(None)  # nobody survives SIGKILL
            if self.until > end:
                break
            self.now, fires = max(self.now, self.until), self.fires
            self.arm(math.inf, None)
            if fires is not None:
                self.feed(fires)
            self.reconcile()
        self.now = end
        self.reconcile()

    # -- what must be true, always -----------------------------------------------------------

    @invariant()
    def a_process_exists_exactly_in_the_states_that_have_one(self) -> None:
        assert self.process == (self.state in ALIVE), f"{self.state} with process={self.process}"

    @invariant()
    def nothing_is_waited_for_without_an_end(self) -> None:
        if self.process:
            assert self.until < math.inf, f"{self.state} waits for ever"
        if self.wanted and not self.process and not self.blocked and not self.policy.is_over:
            assert self.until <= self.now + max(PROBE_S, DELAY_MAX_S), f"{self.state} sleeps too long"

    @invariant()
    def what_is_not_wanted_has_no_process_or_is_on_its_way_out(self) -> None:
        if not self.wanted:
            assert self.state in {State.DOWN, State.DRAINING, State.STOPPING}

    def teardown(self) -> None:
        """Whatever happened: an operator can have it stopped within bounds, and started again."""
        if not hasattr(self, "policy"):
            return
        self.can_fork, self.blocked = True, False
        self.operator_wants(wanted=False)
        self.time_passes(STOP.warm_s + 2 * STOP.cold_s)
        assert self.state is State.DOWN
        assert not self.process

        starts = self.starts
        self.time_passes(400.0)
        assert self.starts == starts, "what an operator stopped was started"

        self.operator_wants(wanted=True)
        begun: State = self.state
        assert begun is State.STARTING
        assert self.starts == starts + 1


ProgramLife.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
test_no_sequence_of_events_loses_a_process_runs_two_or_sleeps_for_ever = ProgramLife.TestCase
