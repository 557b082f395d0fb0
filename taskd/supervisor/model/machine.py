"""The life of one supervised program as a table of states and events.

A pure decider.  ``step`` answers with the next state and with effects as data, which ``program.py`` carries
out.  ``due`` compares what is *wanted* with what *is* and answers with the event that closes the gap.  The
wanted state, and the reason of a state, are kept apart from the state itself.

::

    DOWN     -START->  STARTING  -READY->  READY        (WAITING leads from READY back to STARTING)
                       STARTING, READY  -STOP, DRAINING->  DRAINING  -OVERDUE, COLD->  STOPPING
                       STARTING, READY  -HUNG, COLD->      STOPPING  -OVERDUE->        STOPPING (again KILL)
                       STARTING, READY, DRAINING, STOPPING  -EXITED->  DOWN
    DOWN     -HOLD->   BACKOFF   -START->  STARTING
    DOWN     -TRIP->   FAILED    -START->  STARTING

SPAWN stands only on the way into STARTING, and only an end of the process leads out of the four states that
have one.  So no process is lost, and none runs twice.  Each state that waits for something arms exactly one
timer, by its AWAIT effect, so nothing can be waited for without end.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a program is.  STARTING, READY, DRAINING and STOPPING have a process, the others none."""

    DOWN = "DOWN"
    STARTING = "STARTING"  # runs, but does not do its work: just started, or waits for the broker
    READY = "READY"
    DRAINING = "DRAINING"  # takes nothing new and finishes what it has
    STOPPING = "STOPPING"  # was told to drop everything, or was killed
    BACKOFF = "BACKOFF"  # died; starts again after a delay
    FAILED = "FAILED"  # died too often; tried once a minute

    # Enum's own is a function in Python, and sets of states are asked for hundreds of programs at a time.
    __hash__ = object.__hash__


class LifeEvent(Enum):
    """The events in the life of a program."""

    START = "start"  # it is wanted, and may start now
    HOLD = "hold"  # it is wanted, but must wait
    TRIP = "trip"  # it is wanted, but died too often
    STOP = "stop"  # end warmly: let it finish what it runs
    COLD = "cold"  # end at once, giving back what it has
    OVERDUE = "overdue"  # the present step of a stop took too long
    HUNG = "hung"  # not ready in time, silent, or it broke the status protocol
    READY = "ready"
    WAITING = "waiting"
    DRAINING = "draining"
    EXITED = "exited"
    SPAWN_FAILED = "spawn failed"


class Effect(Enum):
    """The acts of the shell, in the order given."""

    SPAWN = "spawn"
    TERM = "send SIGTERM"
    QUIT = "send SIGQUIT"
    KILL = "send SIGKILL"
    COUNT = "count an end that nobody asked for against the restart budget"
    AWAIT_READY = "wait for readiness, at most start_timeout"
    AWAIT_HEARTBEAT = "wait for heartbeats, each within heartbeat_timeout"
    AWAIT_EXIT = "wait for the exit, as long as the step of the stop allows"
    AWAIT_START = "wait until the restart policy allows a start"
    REST = "wait for nothing"


class Outlook(Enum):
    """The word of the restart policy on a start now, and that of the program's dependencies."""

    NOW = "now"
    LATER = "later"
    TRIPPED = "tripped"
    BLOCKED = "blocked"  # it waits for another program
    NEVER = "never"  # it has ended, and its restart key says that this was it


Move = tuple[State, tuple[Effect, ...]]

#: The states in which a process exists.
ALIVE = frozenset({State.STARTING, State.READY, State.DRAINING, State.STOPPING})

_START: Move = (State.STARTING, (Effect.SPAWN, Effect.AWAIT_READY))
_STOP: Move = (State.DRAINING, (Effect.TERM, Effect.AWAIT_EXIT))
# A program that drains of its own accord has the same time for it as one that was told to.
_LEAVE: Move = (State.DRAINING, (Effect.COUNT, Effect.AWAIT_EXIT))
_COLD: Move = (State.STOPPING, (Effect.QUIT, Effect.AWAIT_EXIT))
_HUNG: Move = (State.STOPPING, (Effect.COUNT, Effect.KILL, Effect.AWAIT_EXIT))
_DIED: Move = (State.DOWN, (Effect.COUNT, Effect.REST))
_ENDED: Move = (State.DOWN, (Effect.REST,))

#: Events that change something.  With ``IGNORED`` it covers every pair of a state and an event.
MOVES: dict[State, dict[LifeEvent, Move]] = {
    State.DOWN: {
        LifeEvent.START: _START,
        LifeEvent.HOLD: (State.BACKOFF, (Effect.AWAIT_START,)),
        LifeEvent.TRIP: (State.FAILED, (Effect.AWAIT_START,)),
    },
    State.BACKOFF: {LifeEvent.START: _START, LifeEvent.STOP: _ENDED, LifeEvent.COLD: _ENDED},
    State.FAILED: {LifeEvent.START: _START, LifeEvent.STOP: _ENDED, LifeEvent.COLD: _ENDED},
    State.STARTING: {
        LifeEvent.READY: (State.READY, (Effect.AWAIT_HEARTBEAT,)),
        LifeEvent.WAITING: (State.STARTING, (Effect.AWAIT_HEARTBEAT,)),
        LifeEvent.DRAINING: _LEAVE,
        LifeEvent.STOP: _STOP,
        LifeEvent.COLD: _COLD,
        LifeEvent.HUNG: _HUNG,
        LifeEvent.EXITED: _DIED,
        LifeEvent.SPAWN_FAILED: _DIED,
    },
    State.READY: {
        LifeEvent.WAITING: (State.STARTING, (Effect.AWAIT_HEARTBEAT,)),
        LifeEvent.DRAINING: _LEAVE,
        LifeEvent.STOP: _STOP,
        LifeEvent.COLD: _COLD,
        LifeEvent.HUNG: _HUNG,
        LifeEvent.EXITED: _DIED,
    },
    State.DRAINING: {LifeEvent.COLD: _COLD, LifeEvent.OVERDUE: _COLD, LifeEvent.EXITED: _ENDED},
    State.STOPPING: {
        LifeEvent.OVERDUE: (State.STOPPING, (Effect.KILL, Effect.AWAIT_EXIT)),
        LifeEvent.EXITED: _ENDED,
    },
}

_WITHOUT_PROCESS = frozenset(
    {
        LifeEvent.OVERDUE,
        LifeEvent.HUNG,
        LifeEvent.READY,
        LifeEvent.WAITING,
        LifeEvent.DRAINING,
        LifeEvent.EXITED,
        LifeEvent.SPAWN_FAILED,
    }
)
_TO_START = frozenset({LifeEvent.START, LifeEvent.HOLD, LifeEvent.TRIP})

#: Events that change nothing: late news of a process that is gone, and orders that are carried out already.
#: A program that drains is not sent SIGTERM again, because a second one means cold.
IGNORED: dict[State, frozenset[LifeEvent]] = {
    State.DOWN: _WITHOUT_PROCESS | {LifeEvent.STOP, LifeEvent.COLD},
    State.BACKOFF: _WITHOUT_PROCESS | {LifeEvent.HOLD, LifeEvent.TRIP},
    State.FAILED: _WITHOUT_PROCESS | {LifeEvent.HOLD, LifeEvent.TRIP},
    State.STARTING: _TO_START | {LifeEvent.OVERDUE},
    State.READY: _TO_START | {LifeEvent.READY, LifeEvent.OVERDUE, LifeEvent.SPAWN_FAILED},
    State.DRAINING: _TO_START
    | {
        LifeEvent.STOP,
        LifeEvent.HUNG,
        LifeEvent.READY,
        LifeEvent.WAITING,
        LifeEvent.DRAINING,
        LifeEvent.SPAWN_FAILED,
    },
    State.STOPPING: _TO_START
    | {
        LifeEvent.STOP,
        LifeEvent.COLD,
        LifeEvent.HUNG,
        LifeEvent.READY,
        LifeEvent.WAITING,
        LifeEvent.DRAINING,
        LifeEvent.SPAWN_FAILED,
    },
}


def step(state: State, event: LifeEvent) -> Move:
    """Return the next state and the effects, in order; an ignored event changes nothing."""
    return MOVES[state].get(event, (state, ()))


# BLOCKED and NEVER need no state of their own: what they wait for comes from outside.
_WAITS = {Outlook.LATER: LifeEvent.HOLD, Outlook.TRIPPED: LifeEvent.TRIP}


def due(state: State, *, wanted: bool, outlook: Outlook) -> LifeEvent | None:
    """Return the event that brings the state nearer to what is wanted; None when there is none now."""
    if not wanted:
        return LifeEvent.STOP if state in {State.STARTING, State.READY, State.BACKOFF, State.FAILED} else None
    if state in ALIVE:
        return None
    if outlook is Outlook.NOW:
        return LifeEvent.START
    return _WAITS.get(outlook) if state is State.DOWN else None
