"""Every way in which the daemon ends, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from taskd.base import exit_codes
from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until


def assert_nothing_is_left(running: RunningSupervisor) -> None:
    assert running.left_behind() == []
    assert not os.path.exists(running.socket_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_ends_with_status_zero(tmp_path: Path, number: signal.Signals) -> None:
    with daemon(tmp_path, modes={"a": "good", "b": "good"}) as running:
        running.wait_for("a-1", "READY")
        running.wait_for("b-1", "READY")

        running.signal(number)

        assert running.wait() == exit_codes.OK
        assert_nothing_is_left(running)


def test_the_supervisor_ends_last(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "ignores-term"}, stop_timeout=300) as running:
        running.wait_for("a-1", "READY")

        running.signal(signal.SIGTERM)

        running.wait_for("a-1", "DRAINING")
        assert running.process.poll() is None


def test_a_program_that_ignores_term_is_sent_quit_after_the_stop_timeout(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "ignores-term"}, stop_timeout=0.3) as running:
        running.wait_for("a-1", "READY")

        assert running.stop() == exit_codes.OK

        assert "sending SIGQUIT" in running.log
        assert "sending SIGKILL" not in running.log
        assert_nothing_is_left(running)


def test_a_second_term_does_not_wait_for_the_stop_timeout(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "ignores-term"}, stop_timeout=300) as running:
        running.wait_for("a-1", "READY")
        running.signal(signal.SIGTERM)
        running.wait_for("a-1", "DRAINING")

        running.signal(signal.SIGTERM)

        assert running.wait(60.0) == exit_codes.OK
        assert_nothing_is_left(running)


def test_quit_ends_even_programs_that_ignore_everything(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "ignores-all"}, stop_timeout=300) as running:
        running.wait_for("a-1", "READY")

        running.signal(signal.SIGQUIT)

        assert running.wait() == exit_codes.OK
        assert_nothing_is_left(running)


def test_a_third_signal_kills_without_waiting(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "ignores-all"}, stop_timeout=300) as running:
        running.wait_for("a-1", "READY")
        running.signal(signal.SIGQUIT)
        running.wait_for("a-1", "STOPPING")

        running.signal(signal.SIGTERM)

        assert running.wait() == exit_codes.OK
        assert "sending SIGKILL: taskd stops (kill)" in running.log  # and not because the cold step is over
        assert_nothing_is_left(running)


def test_a_stop_while_programs_are_starting_leaves_nothing(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "never-ready", "b": "dies"}) as running:
        running.wait_for("a-1", "STARTING")

        assert running.stop() == exit_codes.OK
        assert_nothing_is_left(running)


@pytest.mark.parametrize("mode", ["good", "ignores-all", "never-ready", "floods"])
def test_no_program_survives_a_killed_supervisor(tmp_path: Path, mode: str) -> None:
    with daemon(tmp_path, modes={"a": mode, "b": mode}) as running:
        for name in ("a-1", "b-1"):
            running.wait_for(name, "STARTING" if mode == "never-ready" else "READY")

        running.signal(signal.SIGKILL)
        running.wait()

        assert len(running.survivors) == 2
        wait_until(lambda: not running.left_behind(), timeout_s=2.0)


def test_an_escaped_descendant_is_ended_by_a_stop(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "orphan-maker"}) as running:
        running.wait_for("a-1", "READY")

        def seen() -> int:
            running.remember()
            return len(running.survivors)

        wait_until(lambda: seen() >= 2)

        assert running.stop() == exit_codes.OK
        assert_nothing_is_left(running)


def test_a_second_daemon_on_the_same_socket_is_refused_and_the_first_runs_on(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "good"}) as first:
        first.wait_for("a-1", "READY")
        with daemon(tmp_path, modes={"a": "good"}) as second:
            assert second.wait() == exit_codes.CANTCREAT

        assert f"another taskd (pid {first.pid}) uses the control socket {first.socket_path}" in first.log
        assert first.row("a-1")["state"] == "READY"


def test_a_socket_file_left_by_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "good"}) as first:
        first.wait_for("a-1", "READY")
        first.signal(signal.SIGKILL)
        first.wait()
    assert os.path.exists(first.socket_path)

    with daemon(tmp_path, modes={"a": "good"}) as second:
        assert second.wait_for("a-1", "READY")["pid"]


def test_the_control_socket_is_for_its_owner_only(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "good"}) as running:
        running.wait_for("a-1", "READY")

        assert os.stat(running.socket_path).st_mode & 0o777 == 0o600


def test_a_control_socket_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with daemon(tmp_path, modes={"a": "good"}) as running:
        assert running.wait() == exit_codes.CANTCREAT

        assert (
            f"control socket {running.socket_path}: something that is not a socket lies there" in running.log
        )
        assert "supervisor.control_socket" in running.log
