"""Tasks a second and processor share between two looks."""

from __future__ import annotations

import pytest

from taskd.cli.rates import LoadSample, Pace, pace
from taskd.supervisor.model.rows import ProgramRow


def sample(at: float, *, pid: int | None = 5, done: int = 0, cpu_s: float | None = 0.0) -> LoadSample:
    row = ProgramRow(name="w", kind="worker", state="READY", wanted=True, pid=pid, done=done)
    return LoadSample(at, {"w": row}, {} if pid is None or cpu_s is None else {pid: cpu_s})


def test_a_pace_is_what_was_done_over_the_time() -> None:
    speed = pace("w", sample(10.0, done=5, cpu_s=1.0), sample(12.0, done=25, cpu_s=4.0))

    assert speed == Pace(tasks_per_s=10.0, cpu=1.5)


@pytest.mark.parametrize(
    "former",
    [
        pytest.param(None, id="the first look"),
        pytest.param(LoadSample(10.0, {}, {}), id="a new program"),
        pytest.param(sample(10.0, pid=4, done=100), id="another process"),
        pytest.param(sample(12.0), id="the same moment"),
    ],
)
def test_without_a_former_look_at_the_same_process_there_is_no_pace(former: LoadSample | None) -> None:
    assert pace("w", former, sample(12.0, done=7)) == Pace()


def test_processes_of_other_users_have_no_processor_share() -> None:
    speed = pace("w", sample(10.0, cpu_s=None), sample(11.0, done=1, cpu_s=None))

    assert speed == Pace(tasks_per_s=1.0, cpu=None)


def test_a_pace_is_never_negative() -> None:
    speed = pace("w", sample(10.0, done=9, cpu_s=5.0), sample(11.0, done=3, cpu_s=4.0))

    assert speed == Pace(tasks_per_s=0.0, cpu=0.0)
