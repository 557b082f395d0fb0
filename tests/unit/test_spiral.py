"""When killing does not help, and whether the kernel killed."""

from __future__ import annotations

from pathlib import Path

from taskd.supervisor.process.memory_kills import MemoryKills, places
from taskd.supervisor.programs.spiral import Spiral


def allows(spiral: Spiral, now: float) -> bool:
    return spiral.allows(now, kills=3, period_s=60.0)


def killed(*times: float) -> Spiral:
    spiral = Spiral()
    for now in times:
        spiral.killed(now)
    return spiral


def test_so_many_kills_in_vain_are_enough() -> None:
    assert allows(killed(0.0, 10.0), 20.0)
    assert not allows(killed(0.0, 10.0, 20.0), 30.0)


def test_after_the_period_one_more_is_tried() -> None:
    spiral = killed(0.0, 10.0, 20.0)

    assert allows(spiral, 60.0)
    spiral.killed(60.0)
    assert not allows(spiral, 61.0)


def test_a_finished_task_ends_the_spiral_and_a_mere_heartbeat_does_not() -> None:
    spiral = killed(0.0, 10.0, 20.0)

    assert not spiral.heard(0)
    assert not allows(spiral, 30.0)
    assert spiral.heard(1)
    assert allows(spiral, 30.0)


def test_what_a_former_process_finished_is_no_progress_of_its_successor() -> None:
    spiral = Spiral()
    spiral.heard(100)
    for now in (0.0, 10.0, 20.0):
        spiral.killed(now)
        spiral.heard(0)

    assert not allows(spiral, 30.0)


def test_an_operator_is_forgiving_and_zero_means_any_number() -> None:
    spiral = killed(0.0, 1.0, 2.0)

    assert spiral.allows(3.0, kills=0, period_s=60.0)
    spiral.forgive()
    assert allows(spiral, 3.0)


def test_the_kernels_counter_is_compared_with_its_last_value(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 1\noom_kill 1\n")
    kills = MemoryKills(str(events))
    assert not kills.has_killed()

    events.write_text("low 0\noom 2\noom_kill 2\n")

    assert kills.has_killed()
    assert not kills.has_killed()


def test_without_the_counter_nobody_was_killed_for_memory(tmp_path: Path) -> None:
    assert not MemoryKills(str(tmp_path / "none")).has_killed()


def test_the_counter_of_killed_processes_is_found_with_both_versions_of_cgroups() -> None:
    assert (
        places(["0::/system.slice/taskd.service"], "/c")[0] == "/c/system.slice/taskd.service/memory.events"
    )
    v1 = ["9:name=systemd:/", "4:memory:/docker/ab", "2:cpu,cpuacct:/", "0::/docker/ab"]
    assert places(v1, "/c")[:2] == ["/c/memory/docker/ab/memory.oom_control", "/c/memory/memory.oom_control"]
    assert places([]) == []


def test_the_counter_of_version_1_is_read(tmp_path: Path) -> None:
    events = tmp_path / "memory.oom_control"
    events.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    kills = MemoryKills(str(events))
    events.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")

    assert kills.has_killed()
