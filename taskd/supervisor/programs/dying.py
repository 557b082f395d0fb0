"""Says of a process that has ended how it ended: in a line, in a detail for operators, in its certificate."""

from __future__ import annotations

from dataclasses import dataclass

from taskd.base import clock
from taskd.protocol.status import Activity, fields_of
from taskd.supervisor.deaths.certificate import OUTPUT_LINES, Certificate, clipped, log_death, output_of
from taskd.supervisor.output.lines import split_priority
from taskd.supervisor.output.ring import Ring
from taskd.supervisor.process.reaper import Exit
from taskd.supervisor.programs.life import ProcessLife

# Of a long traceback the end is kept: there stands the error.
_DETAIL_CHARACTERS = 16_000
#: Pool children in a certificate.
_CHILDREN_KEPT = 50
_FORKED_AWAY = (
    "it left {} process(es) behind, which were killed: a command must stay in the foreground"
    " (look for an option such as --foreground or --nodaemon)"
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How its program stood when the process ended; ``reason`` is that of its state."""

    state: str
    reason: str
    asked: bool
    restarts: int
    #: It is not started again when it has ended with status 0.
    is_job: bool


def detail_of(life: ProcessLife, ended: Exit) -> str:
    """Return all that is known of the end, a traceback included, for ``taskctl status``."""
    if life.words is None:
        return life.hang or cause_of(life, ended)
    return f"{life.words.reason}\n{life.words.detail}".strip()[-_DETAIL_CHARACTERS:]


def cause_of(life: ProcessLife, ended: Exit) -> str:
    """Return in one line why the process ended."""
    text = str(ended)
    if life.hang:
        text = f"{life.hang}, killed ({text})"
    elif ended.left_behind and ended.code == 0 and not life.spec.is_own:
        text = f"{text}; {_FORKED_AWAY.format(ended.left_behind)}"
    return f"{life.words.reason} ({text})" if life.words else text


def certify(life: ProcessLife, ended: Exit, circumstances: Circumstances, output: Ring) -> Certificate:
    """Log how the process ended, and return the certificate of it; a decision is not in it yet."""
    spec = life.spec
    now = clock.monotonic()
    written = output.after(life.stack_from) if life.hang else ()
    stack = b"\n".join(split_priority(line.text)[1] for line in written)
    certificate = Certificate(
        program=spec.name,
        group=spec.group,
        kind=spec.kind,
        pid=life.process.pid,
        at=clock.now(),
        started_at=life.started_at,
        lived_s=now - life.began,
        ready_s=None if life.ready_since is None else now - life.ready_since,
        state=circumstances.state,
        asked=circumstances.asked and not life.hang,
        reason=circumstances.reason,
        cause=cause_of(life, ended),
        exit_code=ended.code,
        signal=ended.signum,
        core_dumped=ended.core_dumped,
        out_of_memory=ended.out_of_memory,
        cpu_s=ended.cpu_s,
        max_rss_bytes=ended.max_rss_bytes,
        **fields_of(life.load, Activity),
        heard_s=now - life.heard,
        running=life.load.running,
        children=life.load.children[:_CHILDREN_KEPT],
        waiting=life.waiting,
        hang=life.hang,
        stack=clipped(stack.decode("utf-8", "backslashreplace")),
        words=clipped(life.words.reason) if life.words else "",
        traceback=clipped(life.words.detail) if life.words else "",
        output=output_of([line.text for line in output.tail(OUTPUT_LINES)]),
        restarts=circumstances.restarts,
        is_job=circumstances.is_job,
    )
    log_death(certificate)
    return certificate
