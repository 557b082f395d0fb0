"""Certificates of pool children, which are not the supervisor's own: their worker tells how they ended.

Pure.  A task that kills its child may do so ten times a second, so like deaths are one certificate with a
count, and those of children never crowd out those of programs.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from taskd.protocol.status import ChildDied
from taskd.supervisor.programs.certificate import Certificate, clipped

#: The ``kind`` of these certificates.
CHILD = "child"
#: Like deaths that follow one another within this are one certificate.
ALIKE_S = 60.0
_WORDS_CHARACTERS = 500


def certify(program: str, group: str, line: ChildDied, *, at: float, out_of_memory: bool) -> Certificate:
    """Return the certificate of one child of ``program`` that died at the wall-clock time ``at``."""
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


def like(certificates: Sequence[Certificate], new: Certificate) -> Certificate | None:
    """Return the one that the new death is counted with: the same end in the same task, not long ago."""
    for former in reversed(certificates):
        if former.kind == CHILD and _sort(former) == _sort(new):
            return former if new.at - former.at <= ALIKE_S else None
    return None


def counted(former: Certificate, new: Certificate) -> Certificate:
    """Return the new certificate, which stands for the former ones, too."""
    return msgspec.structs.replace(new, count=former.count + new.count)


def to_forget(certificates: Sequence[Certificate]) -> Certificate:
    """Return the certificate that makes room: the oldest, of children while these are more than half."""
    children = [each for each in certificates if each.kind == CHILD]
    return children[0] if len(children) * 2 > len(certificates) else certificates[0]


def _sort(certificate: Certificate) -> tuple[object, ...]:
    task = certificate.running[0].name if certificate.running else ""
    return certificate.program, certificate.exit_code, certificate.signal, certificate.asked, task
