"""The pages ``docs/process-states.md`` and ``docs/signals.md``, written from the tables themselves.

``python -m taskd.supervisor.reference > docs/process-states.md``, and with the word ``signals`` behind it
``> docs/signals.md``; tests keep the pages up to date.  Nothing of the daemon imports this module.
"""

from __future__ import annotations

import sys

from taskd.supervisor.model.machine import ALIVE, MOVES, LifeEvent, State
from taskd.supervisor.model.signals import MEANINGS

_HEAD = """# The states of a program

<!-- Written by `python -m taskd.supervisor.reference`; do not edit. -->

`taskctl status` shows the state of each program that the supervisor runs. Beside the state stand the
*wanted* state (up or down) and the *reason* of the present one. A program that you stopped is DOWN and
stays DOWN; a program that crashed is DOWN for a moment.

"""

_MEANING = {
    State.DOWN: "no process: stopped, over (see `restart`), or waiting for another program",
    State.STARTING: "runs, but does not do its work: just started, or waits for the broker",
    State.READY: "does its work: a worker consumes, beat ticks",
    State.DRAINING: "takes nothing new and finishes what it has, at most `stop_timeout`",
    State.STOPPING: "was told to drop everything (QUIT), or was killed",
    State.BACKOFF: "died; starts again after a delay with jitter, at most `restart_delay_max`",
    State.FAILED: "died more than `restart_intensity` times in `restart_period`; tried once a minute",
}

_EVENTS = """
Events come from different sides:

- *start*, *hold* and *trip*: the supervisor compares the wanted state with the present one.
- *stop* and *cold*: an operator, a signal or the end of the daemon.
- *ready*, *waiting* and *draining*: the program's status lines.
- *hung*: a program that is not ready within `start_timeout`, or silent for `heartbeat_timeout`.
- *overdue*: a step of a stop took too long.
- *exited* and *spawn failed*: the kernel.

An event that a state does not list changes nothing there.

A `[program.NAME]` gets its `stop_signal` where the table says SIGTERM, and SIGKILL where it says SIGQUIT.
With `ready = "started"` it is *ready* when it has run for `ready_after`.
"""


def render() -> str:
    """Return the page."""
    lines = [_HEAD, "| state | process | meaning |\n|---|---|---|\n"]
    for state in State:
        process = "yes" if state in ALIVE else "no"
        lines.append(f"| {state.value} | {process} | {_MEANING[state]} |\n")
    lines.append(_EVENTS)
    lines.append("\n| state | event | next state | what the supervisor does |\n|---|---|---|---|\n")
    for state in State:
        for event in LifeEvent:
            if (move := MOVES[state].get(event)) is not None:
                following, effects = move
                does = "; ".join(effect.value for effect in effects)
                lines.append(f"| {state.value} | {event.value} | {following.value} | {does} |\n")
    return "".join(lines)


_SIGNALS_HEAD = """# The signals of the daemon

<!-- Written by `python -m taskd.supervisor.reference signals`; do not edit. -->

The table lists the signals that the process `taskd: supervisor` obeys. It obeys them at any time: during
the start, a reload, a roll or a drain. No signal is lost, but several of a kind that come at once may count
as one. `taskctl` can ask for the same, and gets an answer.

| signal | what it does |
|---|---|
"""

_SIGNALS_TAIL = """
A daemon that hangs still obeys USR2 and ABRT; its loop obeys all others.

Workers know TERM and INT (warm), QUIT (cold), TSTP (rest) and CONT (go on); leave them to the daemon, and use
`taskctl stop`, `restart` and `signal`.
"""


def render_signals() -> str:
    """Return the page of the signals."""
    rows = [f"| {number.name.removeprefix('SIG')} | {does} |\n" for number, does in MEANINGS.items()]
    return "".join([_SIGNALS_HEAD, *rows, _SIGNALS_TAIL])


if __name__ == "__main__":
    sys.stdout.write(render_signals() if sys.argv[1:] == ["signals"] else render())
