"""A death certificate: everything that is known of how one process ended.

``programs.dying`` fills it for a process of the supervisor's own, ``of_child`` for one of a pool.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from taskd.base.safe_text import Block
from taskd.protocol.status import ChildDied, ChildState, RunningTask
from taskd.supervisor.output.lines import split_priority

_log = logging.getLogger(__name__)

#: Finds every death in the journal: ``journalctl MESSAGE_ID=...`` (systemd.journal-fields(7)).
MESSAGE_ID = "5f3b6f0a8d6e4f0c9e1c7a41d2b0c8e7"
#: Output that goes into a certificate.
OUTPUT_LINES = 20
#: The ``kind`` of the certificates of pool children.
CHILD = "child"
_WORDS_CHARACTERS = 500
_LINE_CHARACTERS = 500
_TEXT_CHARACTERS = 16_000


class Certificate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One end of one process.  ``at`` and ``started_at`` are wall-clock seconds.

    ``asked`` off means that nobody told it to end.  ``reason`` is why it was as it was: who asked for
    the end, what it waited for.  Of the exit status either ``exit_code`` or ``signal`` is set.  The load
    is that of its last heartbeat, which came ``heard_s`` before the end.
    """

    program: str
    group: str = ""
    kind: str = ""
    pid: int = 0
    at: float = 0.0
    started_at: float = 0.0
    lived_s: float = 0.0
    #: How long it had done its work; None: it never was ready.
    ready_s: float | None = None
    state: str = ""
    asked: bool = False
    reason: str = ""
    cause: str = ""
    exit_code: int | None = None
    signal: int | None = None
    core_dumped: bool = False
    #: The kernel's counter of processes killed for lack of memory rose at that time.
    out_of_memory: bool = False
    cpu_s: float = 0.0
    max_rss_bytes: int = 0
    busy: int = 0
    reserved: int = 0
    depth: int = 0
    done: int = 0
    oldest_s: float = 0.0
    heard_s: float = 0.0
    #: The longest-running tasks at its last heartbeat; their messages run again elsewhere.
    running: Sequence[RunningTask] = ()
    #: How its pool children were at its last heartbeat, the first of them.
    children: Sequence[ChildState] = ()
    waiting: str = ""
    #: Why it counted as hung, and its stacks as faulthandler wrote them then.
    hang: str = ""
    stack: str = ""
    words: str = ""
    traceback: str = ""
    output: Sequence[str] = ()
    restarts: int = 0
    #: It is not started again when it has ended with status 0.
    is_job: bool = False
    #: The act of the supervisor that followed.
    decision: str = ""
    #: Of ``kind`` "child", a process of the program's pool: the number of deaths like this one within a
    #: while. The evidence is that of the last.
    count: int = 1


def log_death(certificate: Certificate) -> None:
    """Write the line of a death, with its facts as fields of the journal."""
    clean = certificate.exit_code == 0
    if clean and (certificate.asked or certificate.is_job):
        level = logging.INFO
    else:
        level = logging.WARNING if clean or certificate.asked else logging.ERROR
    fields = {
        "MESSAGE_ID": MESSAGE_ID,
        "TASKD_DIED": certificate.program,
        "TASKD_PID": str(certificate.pid),
        "TASKD_KIND": certificate.kind,
        "TASKD_CAUSE": certificate.cause,
        "TASKD_EXIT_CODE": "" if certificate.exit_code is None else str(certificate.exit_code),
        "TASKD_SIGNAL": "" if certificate.signal is None else str(certificate.signal),
        "TASKD_LIVED_SEC": f"{certificate.lived_s:.3f}",
        "TASKD_CPU_SEC": f"{certificate.cpu_s:.3f}",
        "TASKD_MAX_RSS": str(certificate.max_rss_bytes),
    }
    _log.log(
        level,
        "program=%s %spid=%s ended: %s lived_s=%.1f cpu_s=%.2f max_rss_bytes=%s%s%s",
        certificate.program,
        "child " if certificate.kind == CHILD else "",
        certificate.pid,
        certificate.cause,
        certificate.lived_s,
        certificate.cpu_s,
        certificate.max_rss_bytes,
        " (the kernel had no memory left)" if certificate.out_of_memory else "",
        Block("" if _is_written(certificate) else f"\n{certificate.traceback}"),
        extra={"fields": {name: value for name, value in fields.items() if value}},
    )


def _is_written(certificate: Certificate) -> bool:
    """Return whether the program has itself written its traceback, so that it is in the log already."""
    *_, last = certificate.traceback.strip().splitlines() or [""]
    return not last or any(last in line for line in certificate.output)


def clipped(text: str) -> str:
    """Return a text as it fits into a certificate: of a long one the end, where the error stands."""
    return text[-_TEXT_CHARACTERS:]


def output_of(lines: Sequence[bytes]) -> Sequence[str]:
    """Return the last lines of output as texts."""
    texts = [split_priority(line)[1] for line in lines[-OUTPUT_LINES:]]
    return [text.decode("utf-8", "backslashreplace")[:_LINE_CHARACTERS] for text in texts]


def of_child(program: str, group: str, line: ChildDied, *, at: float, out_of_memory: bool) -> Certificate:
    """Return the certificate of a pool child of ``program`` that died at the wall-clock time ``at``.

    It is not a process of the supervisor's own: its worker tells how it ended.
    """
    task = line.task
    became = f"{task.name} {line.fate}" if task is not None else "it ran nothing"
    return Certificate(
        program=program,
        group=group,
        kind=CHILD,
        pid=line.pid,
        at=at,
        started_at=at - line.lived_s,
        lived_s=line.lived_s,
        state="RUNNING" if task is not None else "IDLE",
        asked=line.asked,
        cause=line.cause[:_WORDS_CHARACTERS],
        exit_code=line.exit_code,
        signal=line.signal,
        out_of_memory=out_of_memory,
        max_rss_bytes=line.max_rss_bytes,
        running=() if task is None else (task,),
        traceback=clipped(line.last_words),
        decision=f"{became}; replaced in the pool"[:_WORDS_CHARACTERS],
    )
