"""A reload of other commands, and of settings that all processes have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.program_tables import program
from tests.component.reloads import actions, pids, wait_done, worker, write
from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until

SLEEP = ("/bin/sleep", "600")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningSupervisor]:
    """A daemon with a worker and a command, both ready."""
    write(tmp_path, worker("a"), program("x", *SLEEP, ready_after=0))
    with daemon(tmp_path, file=True) as made:
        made.wait_for("a-1", "READY")
        made.wait_for("x-1", "READY")
        yield made


def test_what_does_not_concern_the_process_itself_is_changed_while_it_runs(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    before = pids(running)
    said = tmp_path / "said"
    hook = ["/bin/sh", "-c", f"echo $TASKD_EVENT > {said}"]
    keys = {"on_stopped": hook, "order": 5, "after": ["a"], "restart": "on-failure", "stop_signal": "INT"}
    write(tmp_path, worker("a"), program("x", *SLEEP, ready_after=0, stop_timeout=1, **keys))

    answer = running.call("reload")

    assert actions(answer) == {"a-1": "keep", "x-1": "live"}
    wait_done(running)
    assert pids(running) == before
    running.call("stop", name="x")
    wait_until(said.exists)
    assert "sending SIGINT" in running.log


def test_a_command_that_changed_is_replaced_in_its_own_place_and_workers_are_not_touched(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    before = pids(running)
    write(tmp_path, worker("a"), program("x", "/bin/sleep", "601", ready_after=0))

    running.call("reload")
    wait_done(running)

    after = pids(running)
    assert set(after) == {"a-1", "x-1"}
    assert after["a-1"] == before["a-1"]
    assert after["x-1"] != before["x-1"]


def test_commands_are_added_and_removed(running: RunningSupervisor, tmp_path: Path) -> None:
    write(tmp_path, worker("a"), program("y", *SLEEP, ready_after=0))

    running.call("reload")
    wait_done(running)

    wait_until(lambda: set(pids(running)) == {"a-1", "y-1"})
    # The one that is to go may still be ending.
    wait_until(lambda: {row["name"] for row in running.call("status")["programs"]} == {"a-1", "y-1"})


def test_a_command_that_this_machine_does_not_have_is_refused_before_anything_changes(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    before = pids(running)
    write(tmp_path, worker("a"), program("x", "/no/such/command", ready_after=0))

    answer = running.call("reload")

    assert answer["ok"] is False
    assert any("x.command: /no/such/command is not an executable file" in each for each in answer["problems"])
    assert pids(running) == before


def test_a_job_that_is_over_does_not_hold_a_reload_up_and_is_not_run_again(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    job = ("/bin/sh", "-c", f"echo >> {runs}")
    write(tmp_path, worker("a"), program("x", *SLEEP, ready_after=0), program("job", *job, restart="never"))
    running.call("reload")
    wait_done(running)
    wait_until(lambda: "not started again" in running.row("job-1")["reason"])

    write(
        tmp_path,
        worker("a"),
        program("x", *SLEEP, ready_after=0),
        program("job", *job, restart="never", nice=1),
    )
    running.call("reload")
    wait_done(running, generation=3)

    assert runs.read_text() == "\n"
    running.call("start", name="job")
    wait_until(lambda: runs.read_text() == "\n\n")


def test_a_program_without_autostart_is_added_and_stays_down(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    write(
        tmp_path,
        worker("a"),
        program("x", *SLEEP, ready_after=0),
        program("y", *SLEEP, ready_after=0, autostart=False),
    )

    running.call("reload")
    wait_done(running)

    assert running.row("y-1")["state"] == "DOWN"
    running.call("start", name="y")
    running.wait_for("y-1", "READY")
