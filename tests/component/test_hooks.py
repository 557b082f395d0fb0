"""Commands that are run when something happens to a program: beside it, in time, and killed when late."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

from taskd.host import procinfo
from tests.component.processes import is_gone
from tests.component.program_tables import program
from tests.component.supervised import daemon
from tests.waiting import wait_until


def note(path: Path) -> list[str]:
    return ["/bin/sh", "-c", f'echo "$TASKD_EVENT $TASKD_PROGRAM $TASKD_STATE $TASKD_REASON" >> {path}']


def test_each_occasion_runs_its_command_and_tells_it_program_event_and_reason(tmp_path: Path) -> None:
    said = tmp_path / "said"
    hooks = {key: note(said) for key in ("on_ready", "on_exited", "on_failed", "on_stopped")}
    with daemon(tmp_path, toml=program("x", "/bin/sleep", "600", ready_after=0, **hooks)) as running:
        pid = running.wait_for("x-1", "READY")["pid"]
        wait_until(lambda: said.exists() and "ready x-1" in said.read_text())
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: "exited" in said.read_text() and running.row("x-1")["state"] == "READY")
        wait_until(lambda: said.read_text().count("ready x-1") == 2)

        assert running.stop() == 0  # waits for on_stopped

    lines = said.read_text().splitlines()
    assert lines[0] == "ready x-1 READY ready"
    assert "exited x-1 DOWN ended with signal SIGKILL" in lines
    assert lines[-1] == "stopped x-1 DOWN taskd stops (warm)"


def test_on_failed_runs_once_and_not_at_each_probe(tmp_path: Path) -> None:
    said = tmp_path / "said"
    table = program("x", "/bin/false", restart_intensity=1, restart_delay=0.01, on_failed=note(said))
    with daemon(tmp_path, toml=table) as running:
        running.wait_for("x-1", "FAILED")

        wait_until(lambda: said.exists() and said.read_text())

        assert said.read_text() == "failed x-1 FAILED died too often; tried again once a minute\n"


def test_a_command_that_is_late_is_killed_with_its_children_and_the_programs_do_not_notice(
    tmp_path: Path,
) -> None:
    pids = tmp_path / "pids"
    slow = ["/bin/sh", "-c", f"sleep 600 & echo $! $$ > {pids}; wait"]
    table = program("x", "/bin/sleep", "600", ready_after=0, on_ready=slow, hook_timeout=0.5)
    with daemon(tmp_path, toml=table + program("y", "/bin/sleep", "600", ready_after=0)) as running:
        running.wait_for("x-1", "READY")
        running.wait_for("y-1", "READY")
        started = wait_until(lambda: pids.exists() and pids.read_text().split())
        for pid in map(int, started):
            wait_until(partial(is_gone, pid), what="the end of the hook")

        wait_until(lambda: "hook='x-1 on_ready' was killed: it took longer than hook_timeout" in running.log)
        assert running.row("x-1")["restarts"] == running.row("y-1")["restarts"] == 0


def test_a_command_that_fails_or_does_not_exist_is_logged(tmp_path: Path) -> None:
    tables = program("x", "/bin/sleep", "600", ready_after=0, on_ready=["/bin/sh", "-c", "exit 3"]) + program(
        "y", "/bin/sleep", "600", ready_after=0, on_ready=["/no/hook"]
    )
    with daemon(tmp_path, toml=tables) as running:
        wait_until(lambda: "hook='x-1 on_ready' failed: exit status 3" in running.log)
        wait_until(
            lambda: (
                "hook='y-1 on_ready' failed: y-1 on_ready could not be started: command: /no/hook: No such"
                in running.log
            )
        )
        running.wait_for("x-1", "READY")


def test_a_program_that_dies_in_a_loop_makes_no_crowd_of_commands(tmp_path: Path) -> None:
    gate, count = tmp_path / "gate", tmp_path / "count"
    hook = ["/bin/sh", "-c", f"echo >> {count}; while ! test -e {gate}; do sleep 0.02; done"]
    table = program("x", "/bin/false", restart_intensity=5, restart_delay=0.001, on_exited=hook)
    with daemon(tmp_path, toml=table) as running:
        running.wait_for("x-1", "FAILED")
        assert count.read_text() == "\n"  # six ends, one command

        gate.touch()

        wait_until(lambda: count.read_text() == "\n\n")  # and one for the last of the others


def test_a_cold_stop_does_not_wait_for_commands(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hook = ["/bin/sh", "-c", f"echo $$ > {pids}; exec sleep 600"]
    with daemon(tmp_path, toml=program("x", "/bin/sleep", "600", ready_after=0, on_ready=hook)) as running:
        started = wait_until(lambda: pids.exists() and pids.read_text().split())

        running.signal(signal.SIGQUIT)

        assert running.wait() == 0
        assert not procinfo.is_alive(int(started[0]))
