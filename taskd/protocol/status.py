"""Lines that a program writes to its status descriptor: one JSON object each, newline-terminated.

A program is whatever the supervisor starts.  Readiness and liveness are these lines, written by the
program's own loop and never by a helper thread, so that a line proves that the loop turns.
The descriptor's number is in the environment variable ``TASKD_STATUS_FD``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from taskd.errors import ProtocolError

STATUS_FD_VARIABLE = "TASKD_STATUS_FD"
#: Names the supervisor's pid to the programs that it starts, so that they can die with it.
SUPERVISOR_PID_VARIABLE = "TASKD_SUPERVISOR_PID"
#: A program that writes a longer line is broken; the supervisor ends it.
MAX_LINE_BYTES = 1 << 20

#: Tasks that a heartbeat tells of; ``busy`` counts them all.
MAX_RUNNING = 20


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The program does its work: a worker consumes, beat ticks.  May be sent again after Waiting."""


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """Alive, but not doing its work; ``reason`` says what it waits for (the broker, for example)."""

    reason: str


class RunningTask(msgspec.Struct, frozen=True):
    """One task that runs: ``pid`` is that of the pool child that runs it, or of the program itself."""

    id: str
    name: str
    pid: int
    age_s: float


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat", kw_only=True):
    """Load of a program; sent about once a second while busy and at least every 15 s.

    ``oldest_s``: age of the longest-running task.  ``mean_s``: mean run time of its tasks, 0 before the
    first.  ``rss_bytes``: of the program with its children.  ``quiet``: it takes nothing new for now.
    """

    busy: int = 0
    reserved: int = 0
    depth: int = 0
    done: int = 0
    oldest_s: float = 0.0
    mean_s: float = 0.0
    quiet: bool = False
    rss_bytes: int = 0
    pids: Sequence[int] = ()
    #: The longest-running tasks, oldest first, at most ``MAX_RUNNING``.
    running: Sequence[RunningTask] = ()


class Draining(msgspec.Struct, frozen=True, tag="draining"):
    """The program takes nothing new and will exit when ``left`` tasks are done."""

    left: int = 0


class LastWords(msgspec.Struct, frozen=True, tag="last_words"):
    """Why the program is about to exit; ``detail`` may be a traceback of many lines."""

    reason: str
    detail: str = ""


StatusLine = Ready | Waiting | Heartbeat | Draining | LastWords

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[StatusLine] = msgspec.json.Decoder(StatusLine)


def encode_line(line: StatusLine) -> bytes:
    """Return the line as written to the descriptor."""
    return _encoder.encode(line) + b"\n"


def decode_line(data: bytes) -> StatusLine:
    """Read one line, without its newline.

    Raises: ``ProtocolError`` for anything else.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"status line {data[:200]!r} is not one: {error}") from error
