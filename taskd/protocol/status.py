"""Lines that a program writes to its status descriptor: one JSON object each, newline-terminated.

A program is whatever the supervisor starts.  Readiness and liveness are these lines, written by the
program's own loop and never by a helper thread, so that a line proves that the loop turns.
The descriptor's number is in the environment variable ``TASKD_STATUS_FD``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from taskd.base.errors import ProtocolError

STATUS_FD_VARIABLE = "TASKD_STATUS_FD"
#: Names the supervisor's pid to the programs that it starts, so that they can die with it.
SUPERVISOR_PID_VARIABLE = "TASKD_SUPERVISOR_PID"
#: Names a worker's memory for the tasks that it runs, and that of its predecessor: ``7,8``, or ``7``.
LEDGER_FDS_VARIABLE = "TASKD_LEDGER_FDS"
#: A program that writes a longer line is broken; the supervisor ends it.
MAX_LINE_BYTES = 1 << 20

#: Tasks that a heartbeat tells of; ``busy`` counts them all.
MAX_RUNNING = 20
#: Pool children that a heartbeat tells of.
MAX_CHILDREN = 500


#: The type of every counter: a number that floats hold exactly.
Count = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The program does its work: a worker consumes, beat ticks.  May be sent again after Waiting."""


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """Alive, but not doing its work; ``reason`` says what it waits for (the broker, for example)."""

    reason: str


class RunningTask(msgspec.Struct, frozen=True):
    """One task that runs: ``pid`` is that of the pool child that runs it, or of the program itself."""

    id: str
    name: str
    pid: Count
    age_s: float


class ChildState(msgspec.Struct, frozen=True, kw_only=True):
    """How one process of a pool fares; a pool without processes has one row, that of the program.

    ``state``: ``idle``, ``running``, ``leaving`` (it gets no task any more) or ``heir`` (it waits for the
    place of one that leaves).  ``since_s``: how long it has been in its task, or without one.  ``heard_s``:
    how long ago it reported; one in a long task has nothing to report.
    """

    pid: Count
    state: str = "idle"
    #: The task that it runs; empty for none.
    id: str = ""
    name: str = ""
    since_s: float = 0.0
    heard_s: float = 0.0


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a program that its certificate keeps, too, when it has died.

    ``depth``: messages that wait in its queues.  ``done``: runs that have ended, however.  ``oldest_s``: age
    of the longest-running task.
    """

    busy: Count = 0
    reserved: Count = 0
    depth: Count = 0
    done: Count = 0
    oldest_s: float = 0.0


class Figures(Activity, frozen=True, kw_only=True):
    """All figures of a program that ``taskctl status`` shows: a new one is declared here and nowhere else.

    ``failed``: those of ``done`` that are FAILURE.  ``rss_bytes``: of the program with its children.
    """

    failed: Count = 0
    rss_bytes: Count = 0


def fields_of(figures: Activity, kind: type[Activity]) -> dict[str, Any]:
    """Return the figures that ``kind`` declares, by name, to make a record that shows them."""
    return {name: getattr(figures, name) for name in kind.__struct_fields__}


class Trouble(msgspec.Struct, frozen=True):
    """A fault that an operator should know of, though the program does its work: with the remedy.

    ``since``: by the wall clock.
    """

    text: str
    since: float


class Heartbeat(Figures, frozen=True, tag="heartbeat", kw_only=True):
    """How a program fares; sent about once a second while busy and at least every 15 s.

    ``mean_s``: mean run time of its tasks, 0 before the first.  ``quiet``: it takes nothing new for now.
    """

    mean_s: float = 0.0
    quiet: bool = False
    pids: Sequence[Count] = ()
    #: The longest-running tasks, oldest first, at most ``MAX_RUNNING``.
    running: Sequence[RunningTask] = ()
    #: At most ``MAX_CHILDREN``.
    children: Sequence[ChildState] = ()
    #: The worst first.
    troubles: Sequence[Trouble] = ()


class ChildDied(msgspec.Struct, frozen=True, tag="child_died", kw_only=True):
    """A process of the pool ended that was not told to end in order.

    Of ``exit_code`` and ``signal`` one is set.  ``last_words``: what faulthandler wrote.  ``task``: what it
    ran, and ``fate`` what became of that.  ``asked``: it was ended for a request that named its task.
    """

    pid: Count
    exit_code: Count | None = None
    signal: Count | None = None
    cause: str = ""
    asked: bool = False
    max_rss_bytes: Count = 0
    lived_s: float = 0.0
    last_words: str = ""
    task: RunningTask | None = None
    fate: str = ""


class Draining(msgspec.Struct, frozen=True, tag="draining"):
    """The program takes nothing new and will exit when ``left`` tasks are done."""

    left: Count = 0


class LastWords(msgspec.Struct, frozen=True, tag="last_words"):
    """Why the program is about to exit; ``detail`` may be a traceback of many lines."""

    reason: str
    detail: str = ""


class LinesLost(msgspec.Struct, frozen=True, tag="lost"):
    """The number of lines that the writer of log files could not write since it last said so."""

    lines: Count = 0


StatusLine = Ready | Waiting | Heartbeat | ChildDied | Draining | LastWords | LinesLost

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[StatusLine] = msgspec.json.Decoder(StatusLine)


def encode_line(line: StatusLine) -> bytes:
    """Return the line as written to the descriptor."""
    return _encoder.encode(line) + b"\n"


def decode_line(data: bytes) -> StatusLine:
    """Read one line, without its newline.

    Raises: ``ProtocolError`` for anything else.
    """
    if len(data) > MAX_LINE_BYTES:
        raise ProtocolError(f"a status line has {len(data)} bytes; at most {MAX_LINE_BYTES} are read")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"status line {data[:200]!r} is not one: {error}") from error
    except RecursionError as error:
        raise ProtocolError(f"status line {data[:200]!r} is nested too deeply") from error
