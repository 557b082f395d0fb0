"""Among deaths an operator sees those that need a look: no orderly ends, and equal ones as one."""

from __future__ import annotations

import signal
from typing import Any

from msgspec.structs import replace

from taskd.supervisor.deaths.alike import folded
from taskd.supervisor.deaths.certificate import Certificate


def death(cause: str, **facts: Any) -> Certificate:
    plain = Certificate(
        program="a-1",
        group="a",
        kind="worker",
        pid=1,
        at=1.0,
        started_at=0.0,
        lived_s=1.0,
        state="READY",
        asked=False,
        cause=cause,
    )
    return replace(plain, **facts)


def test_orderly_ends_are_left_out_and_forced_ones_are_not() -> None:
    asked = [
        death("exit status 0", asked=True, exit_code=0),
        death("signal SIGTERM", asked=True, signal=signal.SIGTERM),
        death("exit status 0", is_job=True, exit_code=0),
    ]
    kept = [
        death("signal SIGKILL", asked=True, signal=signal.SIGKILL),
        death("exit status 0", exit_code=0),
        death("silent for 60 s, killed (signal SIGKILL)", asked=True, hang="silent", exit_code=0),
    ]
    assert folded([*asked, *kept]) == kept


def test_equal_crashes_in_a_row_are_one_with_a_count_and_the_evidence_of_the_last() -> None:
    crashes = [death("exit status 77", exit_code=77, pid=pid) for pid in range(5)]

    found = folded([*crashes, death("signal SIGSEGV", signal=11), *crashes[:2]])

    assert [(each.cause, each.count, each.pid) for each in found] == [
        ("exit status 77", 5, 4),
        ("signal SIGSEGV", 1, 1),
        ("exit status 77", 2, 1),
    ]
