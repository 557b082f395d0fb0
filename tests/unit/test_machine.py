"""The state table of a supervised program: total, and safe under every sequence of events."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.supervisor.model.machine import ALIVE, IGNORED, MOVES, Effect, LifeEvent, Outlook, State, due, step

AWAITS = {
    Effect.AWAIT_READY: LifeEvent.HUNG,
    Effect.AWAIT_HEARTBEAT: LifeEvent.HUNG,
    Effect.AWAIT_EXIT: LifeEvent.OVERDUE,
    Effect.AWAIT_START: None,  # only lets reconcile look again
}

#: In each state exactly one timer of the right kind runs; only a program that is down needs none.
WAITS_FOR: dict[State, set[Effect | None]] = {
    State.DOWN: {None},
    State.STARTING: {Effect.AWAIT_READY, Effect.AWAIT_HEARTBEAT},
    State.READY: {Effect.AWAIT_HEARTBEAT},
    State.DRAINING: {Effect.AWAIT_EXIT},
    State.STOPPING: {Effect.AWAIT_EXIT},
    State.BACKOFF: {Effect.AWAIT_START},
    State.FAILED: {Effect.AWAIT_START},
}


@dataclass
class World:
    """The shell as a model: one process at most, one timer, the budget's outlook, what is wanted."""

    state: State = State.DOWN
    wanted: bool = True
    outlook: Outlook = Outlook.NOW
    process: bool = False
    killed: bool = False
    timer: Effect | None = None

    def feed(self, event: LifeEvent) -> None:
        self.state, effects = step(self.state, event)
        for effect in effects:
            self.carry_out(effect)

    def carry_out(self, effect: Effect) -> None:
        if effect is Effect.SPAWN:
            assert not self.process, "a second process was started"
            self.process, self.killed = True, False
        elif effect in {Effect.TERM, Effect.QUIT, Effect.KILL}:
            assert self.process, "a signal was sent to nobody"
            self.killed = self.killed or effect is Effect.KILL
        elif effect is Effect.COUNT:
            self.outlook = Outlook.LATER
        else:
            self.timer = None if effect is Effect.REST else effect

    def happen(self, event: LifeEvent) -> None:
        """Something from outside, as far as it is possible in this world."""
        if event in {LifeEvent.START, LifeEvent.HOLD, LifeEvent.TRIP}:
            return  # these come from reconcile alone
        if event in {LifeEvent.EXITED, LifeEvent.SPAWN_FAILED}:
            if not self.process or (event is LifeEvent.SPAWN_FAILED and self.state is not State.STARTING):
                return
            self.process = False
        self.feed(event)

    def reconcile(self) -> None:
        for _ in range(4):
            event = due(self.state, wanted=self.wanted, outlook=self.outlook)
            if event is None:
                return
            self.feed(event)
        pytest.fail("reconcile does not come to rest")

    def time_passes(self) -> None:
        if self.timer is Effect.AWAIT_START:
            self.outlook = Outlook.NOW
        elif self.timer is not None:
            event = AWAITS[self.timer]
            assert event is not None
            self.feed(event)
        if self.killed and self.process:
            self.process = False
            self.feed(LifeEvent.EXITED)

    def check(self) -> None:
        assert self.process == (self.state in ALIVE), f"{self.state} with process={self.process}"
        assert self.timer in WAITS_FOR[self.state], f"{self.state} waits for {self.timer}"


acts = st.one_of(
    st.sampled_from(LifeEvent),
    st.sampled_from(["want", "unwant", "time", "trip", "recover"]),
)


def play(world: World, sequence: list[LifeEvent | str]) -> None:
    for act in sequence:
        match act:
            case "want" | "unwant":
                world.wanted = act == "want"
            case "time":
                world.time_passes()
            case "trip":
                world.outlook = Outlook.TRIPPED
            case "recover":
                world.outlook = Outlook.NOW
            case LifeEvent():
                world.happen(act)
        world.check()
        world.reconcile()
        world.check()


@pytest.mark.parametrize("state", State)
def test_every_event_is_either_a_move_or_ignored_on_purpose(state: State) -> None:
    assert set(MOVES[state]) | IGNORED[state] == set(LifeEvent)
    assert not set(MOVES[state]) & IGNORED[state]


@given(st.lists(acts, max_size=60))
def test_no_sequence_of_events_loses_a_process_or_runs_two(sequence: list[LifeEvent | str]) -> None:
    play(World(), sequence)


@given(st.lists(acts, max_size=40))
def test_a_program_that_is_not_wanted_is_down_after_a_bounded_time_whatever_happened(
    sequence: list[LifeEvent | str],
) -> None:
    world = World()
    play(world, sequence)

    world.wanted = False
    world.reconcile()
    for _ in range(3):  # warm, cold, kill
        world.time_passes()
        world.reconcile()

    assert world.state is State.DOWN
    assert not world.process


@given(st.lists(acts, max_size=40))
def test_a_wanted_program_is_never_asleep_for_ever(sequence: list[LifeEvent | str]) -> None:
    world = World()
    play(world, sequence)

    world.wanted = True
    world.reconcile()
    for _ in range(5):  # the longest way: drain, cold, kill, wait for the budget, start
        if world.state in {State.STARTING, State.READY}:
            break
        world.time_passes()
        world.reconcile()

    assert world.state in {State.STARTING, State.READY}
    assert world.process


def test_a_program_that_drains_already_is_not_sent_sigterm_again() -> None:
    state, effects = step(State.DRAINING, LifeEvent.STOP)

    assert (state, effects) == (State.DRAINING, ())


def test_an_exit_that_was_asked_for_does_not_count_against_the_budget() -> None:
    assert Effect.COUNT not in step(State.DRAINING, LifeEvent.EXITED)[1]
    assert Effect.COUNT in step(State.READY, LifeEvent.EXITED)[1]


def test_a_program_that_waits_for_the_broker_has_no_start_timeout() -> None:
    state, effects = step(State.STARTING, LifeEvent.WAITING)

    assert state is State.STARTING
    assert effects == (Effect.AWAIT_HEARTBEAT,)
