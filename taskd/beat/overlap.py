"""The rule for a run that comes due while the former run of its entry is on its way.  Pure.

*On its way* is what the broker knows by the former run's id: its message waits, is claimed, or waits for a
retry.  A task that is acknowledged early counts as over when it begins.  Where the broker cannot tell, every
rule acts as ``allow``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from taskd.base.exhaustive import assert_never


class OverlapRule(Enum):
    """The rule of one entry."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class OverlapVerdict:
    """Three groups of occurrences: sent now, dropped, and waiting for the run before them."""

    send: Sequence[float] = ()
    drop: Sequence[float] = ()
    wait: Sequence[float] = ()


def admit(
    rule: OverlapRule, occurrences: Sequence[float], *, former_is_active: bool | None
) -> OverlapVerdict:
    """Decide; ``former_is_active`` is None where it cannot be known."""
    if former_is_active is None or not occurrences:
        return OverlapVerdict(send=occurrences)
    first, rest = (occurrences[:0], occurrences) if former_is_active else (occurrences[:1], occurrences[1:])
    match rule:
        case OverlapRule.ALLOW:
            admission = OverlapVerdict(send=occurrences)
        case OverlapRule.SKIP:
            admission = OverlapVerdict(send=first, drop=rest)
        case OverlapRule.QUEUE:
            admission = OverlapVerdict(send=first, wait=rest)
        case _:
            assert_never(rule)
    return admission
