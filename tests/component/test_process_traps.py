"""What goes wrong between a supervisor and the kernel when one does not look: lost signals, lost exits."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from taskd.host import procinfo
from tests.component.program_tables import program
from tests.component.supervised import daemon
from tests.waiting import wait_until


def test_a_stop_that_meets_a_program_between_fork_and_exec_is_not_lost(tmp_path: Path) -> None:
    table = program("x", "/bin/sleep", "600", ready_after=0, stop_timeout=300.0)
    with daemon(tmp_path, toml=table + program("y", "/bin/sleep", "600", ready_after=0)) as running:
        running.wait_for("y-1", "READY")
        for _ in range(20):
            running.call("start", name="x")  # has forked when it answers
            running.call("stop", name="x")

            running.wait_for("x-1", "DOWN")


def test_of_many_that_die_at_the_same_moment_none_is_overlooked(tmp_path: Path) -> None:
    with daemon(tmp_path, toml=program("x", "/bin/sleep", "600", ready_after=0, processes=30)) as running:
        for number in range(1, 31):
            running.wait_for(f"x-{number}", "READY")
        pids = {row["pid"] for row in running.call("status")["programs"]}

        for pid in pids:
            os.kill(pid, signal.SIGKILL)

        def all_replaced() -> bool:
            rows = running.call("status")["programs"]
            return all(row["state"] == "READY" and row["pid"] not in pids for row in rows)

        wait_until(all_replaced, 20.0, "30 successors")
        assert [row["restarts"] for row in running.call("status")["programs"]] == [1] * 30


def test_a_program_has_the_default_for_every_signal_even_if_the_daemon_was_started_with_some_ignored(
    tmp_path: Path,
) -> None:
    status = tmp_path / "status"
    table = program(
        "x", "/bin/sh", "-c", f"cat /proc/self/status > {status}.part; mv {status}.part {status}; sleep 600"
    )
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with daemon(tmp_path, toml=table):
            wait_until(status.exists)
    finally:
        signal.signal(signal.SIGHUP, former)

    masks = {
        line.split(":")[0]: int(line.split()[1], 16)
        for line in status.read_text().splitlines()
        if line[:3] == "Sig" and line[:4] != "SigQ"
    }
    # Without the two of the C library: its posix_spawn ignores them, and nobody else may set them.
    assert masks["SigIgn"] & ~(0b11 << 31) == 0
    assert masks["SigBlk"] == 0


def test_a_command_that_knows_nothing_of_taskd_dies_with_it(tmp_path: Path) -> None:
    with daemon(tmp_path, toml=program("x", "/bin/sleep", "600", ready_after=0)) as running:
        pid = running.wait_for("x-1", "READY")["pid"]
        assert procinfo.is_alive(pid)

        running.signal(signal.SIGKILL)

        wait_until(lambda: not procinfo.is_alive(pid), what="the end of the program")
