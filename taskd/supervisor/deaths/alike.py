"""Judges which deaths are alike, or worth an operator's look.  Pure.

A task that kills its child may do so ten times a second.  So the register keeps like deaths of children as
one certificate with a count, and deaths of children never crowd out those of programs.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

import msgspec

from taskd.supervisor.deaths.certificate import CHILD, Certificate

#: Like deaths of children that follow one another within this are one certificate.
ALIKE_S = 60.0


def like(certificates: Sequence[Certificate], new: Certificate) -> Certificate | None:
    """Return the one that a child's death is counted with: the same end in the same task, not long ago."""
    for former in reversed(certificates):
        if former.kind == CHILD and _end_of_child(former) == _end_of_child(new):
            return former if new.at - former.at <= ALIKE_S else None
    return None


def counted(former: Certificate, new: Certificate) -> Certificate:
    """Return the new certificate, which stands for the former ones, too."""
    return msgspec.structs.replace(new, count=former.count + new.count)


def to_forget(certificates: Sequence[Certificate]) -> Certificate:
    """Return the certificate that makes room: the oldest, of children while these are more than half."""
    children = [each for each in certificates if each.kind == CHILD]
    return children[0] if len(children) * 2 > len(certificates) else certificates[0]


def is_orderly(each: Certificate) -> bool:
    """Return whether it ended as it should: asked to and without force, or as a job that is done."""
    if each.hang or each.out_of_memory:
        return False
    if each.is_job and each.exit_code == 0:
        return True
    return each.asked and (each.exit_code == 0 or each.signal in {signal.SIGTERM, signal.SIGINT})


def folded(certificates: Sequence[Certificate]) -> list[Certificate]:
    """Return those worth a look, oldest first: of equal deaths in a row the last one, with their count."""
    found: list[Certificate] = []
    for each in certificates:
        if is_orderly(each):
            continue
        former = found[-1] if found else None
        if former is not None and _end_of_any(former) == _end_of_any(each):
            found[-1] = counted(former, each)
        else:
            found.append(each)
    return found


def _end_of_child(each: Certificate) -> tuple[object, ...]:
    task = each.running[0].name if each.running else ""
    return each.program, each.exit_code, each.signal, each.asked, task


def _end_of_any(each: Certificate) -> tuple[object, ...]:
    tasks = tuple(task.name for task in each.running)
    return each.program, each.kind, each.cause, each.asked, each.exit_code, each.signal, each.state, tasks
