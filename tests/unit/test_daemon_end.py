"""When the daemon may end."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from taskd.supervisor.model.daemon_end import VANISH_S, DaemonEnd
from taskd.supervisor.model.machine import State
from taskd.supervisor.model.roster import ProgramSpec
from taskd.supervisor.model.signals import Haste


@dataclass
class Left:
    state: State
    spec: ProgramSpec = field(
        default_factory=lambda: ProgramSpec(name="a-1", kind="worker", group="a", command=("x",))
    )


def is_over(
    shutdown: DaemonEnd, *alive: Left, now: float, haste: Haste | None = Haste.WARM, idle: bool = True
) -> bool:
    shutdown.haste = haste
    return shutdown.is_over(alive, hooks_idle=idle, now=now)


def test_without_a_stop_there_is_no_end() -> None:
    assert not is_over(DaemonEnd(), now=0.0, haste=None)


def test_only_a_warm_end_waits_for_hooks() -> None:
    assert is_over(DaemonEnd(), now=0.0)
    assert not is_over(DaemonEnd(), now=0.0, idle=False)
    assert is_over(DaemonEnd(), now=0.0, idle=False, haste=Haste.COLD)


def test_a_process_that_survives_sigkill_does_not_keep_the_daemon_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutdown = DaemonEnd()

    assert not is_over(shutdown, Left(State.STOPPING), now=100.0)
    assert not is_over(shutdown, Left(State.STOPPING), now=101.9 + VANISH_S)
    assert is_over(shutdown, Left(State.STOPPING), now=102.0 + VANISH_S)
    assert "a-1" in caplog.text


def test_one_that_still_drains_has_its_time() -> None:
    shutdown = DaemonEnd()
    is_over(shutdown, Left(State.STOPPING), now=0.0)

    assert not is_over(shutdown, Left(State.STOPPING), Left(State.DRAINING), now=1000.0)
    assert not is_over(shutdown, Left(State.STOPPING), now=1001.0)
