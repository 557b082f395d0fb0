"""Which deaths are worth an operator's look: without the orderly ends, and equal ones as one.  Pure."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import msgspec

from taskd.supervisor.programs.certificate import Certificate


def is_orderly(each: Certificate) -> bool:
    """Return whether it ended as it should: asked to and without force, or as a job that is done."""
    if each.hang or each.out_of_memory:
        return False
    if each.is_job and each.exit_code == 0:
        return True
    return each.asked and (each.exit_code == 0 or each.signal in {signal.SIGTERM, signal.SIGINT})


def folded(certificates: Sequence[Certificate]) -> list[Certificate]:
    """Return what is left, oldest first: of equal deaths in a row the last one, with their count."""
    found: list[Certificate] = []
    for each in certificates:
        if is_orderly(each):
            continue
        former = found[-1] if found else None
        if former is not None and _sort(former) == _sort(each):
            found[-1] = msgspec.structs.replace(each, count=former.count + each.count)
        else:
            found.append(each)
    return found


def _sort(each: Certificate) -> tuple[object, ...]:
    tasks = tuple(task.name for task in each.running)
    return each.program, each.kind, each.cause, each.asked, each.exit_code, each.signal, each.state, tasks
