"""Signals at the worst moments: while programs start, while they are replaced, while they drain."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskd.base import exit_codes
from taskd.host import procinfo
from taskd.supervisor.model.signals import AT_ONCE, MEANINGS, WATCHED
from tests.component.reloads import pids, worker, write
from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until

HARMLESS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD)


@contextmanager
def in_the_middle_of_a_roll(directory: Path) -> Iterator[RunningSupervisor]:
    """Run two programs, and a third that is to take the place of one and never becomes ready."""
    write(directory, worker("a", processes=2))
    with daemon(directory, file=True) as running:
        running.wait_for("a-2", "READY")
        write(directory, worker("a", "never-ready", processes=2))
        running.call("reload")
        wait_until(lambda: len(running.call("status")["programs"]) == 3)
        yield running


def test_every_signal_of_the_table_is_taken_by_the_loop_or_at_once() -> None:
    assert set(MEANINGS) == WATCHED | AT_ONCE
    assert {signal.SIGUSR2, signal.SIGABRT} == AT_ONCE


def storm(running: RunningSupervisor) -> None:
    for number in HARMLESS * 3:
        running.signal(number)


def assert_alive(running: RunningSupervisor) -> None:
    assert running.call("status")["taskd"]["pid"] == running.pid


def test_signals_from_the_first_moment_of_the_start_are_survived(tmp_path: Path) -> None:
    write(tmp_path, worker("a"), worker("b", "never-ready"))
    with daemon(tmp_path, file=True) as running:
        running.wait_for("b-1", "STARTING")

        storm(running)

        running.wait_for("a-1", "READY")
        assert_alive(running)
        assert running.stop() == exit_codes.OK
        assert not running.left_behind()


def test_a_stop_that_comes_at_the_same_moment_as_other_signals_ends_with_status_zero(tmp_path: Path) -> None:
    write(tmp_path, worker("a"))
    with daemon(tmp_path, file=True) as running:
        running.wait_for("a-1", "READY")
        running.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, running.pid, os.WSTOPPED)

        storm(running)
        running.signal(signal.SIGTERM)
        running.signal(signal.SIGCONT)  # now the kernel delivers them, one on top of the other

        assert running.wait() == exit_codes.OK
        assert not running.left_behind()


def test_signals_in_the_middle_of_a_roll_are_survived(tmp_path: Path) -> None:
    with in_the_middle_of_a_roll(tmp_path) as running:
        storm(running)

        assert_alive(running)
        write(tmp_path, worker("a", processes=2))
        running.signal(signal.SIGHUP)
        wait_until(lambda: len(pids(running)) == len(running.call("status")["programs"]) == 2)


def test_signals_while_everything_drains_start_nothing_and_lose_nobody(tmp_path: Path) -> None:
    write(tmp_path, worker("a", "ignores-term"))
    with daemon(tmp_path, file=True) as running:
        running.wait_for("a-1", "READY")
        running.signal(signal.SIGTERM)
        running.wait_for("a-1", "DRAINING")

        storm(running)

        assert len(running.call("status")["programs"]) == 1
        running.signal(signal.SIGTERM)
        assert running.wait() == exit_codes.OK
        assert not running.left_behind()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_stop_in_the_middle_of_a_roll_ends_old_and_new(tmp_path: Path, number: signal.Signals) -> None:
    with in_the_middle_of_a_roll(tmp_path) as running:
        running.signal(number)

        assert running.wait() == exit_codes.OK
        assert not running.left_behind()


def test_usr2_writes_the_stack_of_the_daemon_and_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, worker("a"))
    with daemon(tmp_path, file=True) as running:
        running.wait_for("a-1", "READY")

        running.signal(signal.SIGUSR2)

        wait_until(lambda: "most recent call first" in running.log)
        assert "run_once" in running.log
        assert_alive(running)


def test_usr2_to_a_program_does_not_go_through_the_supervisors_handler(tmp_path: Path) -> None:
    write(tmp_path, worker("a"))
    with daemon(tmp_path, file=True) as running:
        pid = running.wait_for("a-1", "READY")["pid"]

        os.kill(pid, signal.SIGUSR2)  # its default ends a process that has no handler of its own

        wait_until(lambda: running.row("a-1")["pid"] not in {pid, None})
        assert running.row("a-1")["detail"] == "signal SIGUSR2"
        assert procinfo.is_alive(running.pid)
