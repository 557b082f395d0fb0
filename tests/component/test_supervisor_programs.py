"""What the supervisor does with programs that behave badly: real processes, fake work."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from taskd.base.program_signals import HELD
from taskd.host import procinfo
from tests.component.supervised import daemon
from tests.waiting import wait_until


def test_a_status_row_shows_the_load_of_a_program(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "good"}) as running:
        wait_until(lambda: running.wait_for("a-1", "READY")["busy"])
        row = running.row("a-1")

        assert set(row) == {
            "name", "kind", "state", "wanted", "reason", "since", "pid", "restarts", "busy", "reserved",
            "depth", "done", "spare", "rss_bytes", "oldest_s", "detail", "generation", "alarm",
            "for_s", "failed", "troubles",
        }  # fmt: skip
        assert (row["kind"], row["busy"], row["reserved"], row["done"]) == ("worker", 2, 3, 7)
        assert procinfo.is_alive(row["pid"])


def test_a_killed_program_is_replaced_at_once(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "good"}, restart_delay=600.0, restart_delay_max=600.0) as running:
        pid = running.wait_for("a-1", "READY")["pid"]

        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: running.row("a-1")["pid"] not in {pid, None})

        row = running.wait_for("a-1", "READY")
        assert row["restarts"] == 1
        assert row["detail"] == "signal SIGKILL"


def test_a_program_that_dies_at_once_trips_and_does_not_disturb_the_others(tmp_path: Path) -> None:
    modes = {"a": "good", "b": "dies"}
    with daemon(tmp_path, modes=modes, restart_intensity=2, restart_delay=0.01) as running:
        row = running.wait_for("b-1", "FAILED")

        assert row["restarts"] == 2
        assert row["detail"] == "no module named shop\nTraceback: ImportError"
        assert "Traceback: ImportError" in running.log
        assert running.wait_for("a-1", "READY")["restarts"] == 0
        assert running.stop() == 0


def test_a_program_that_never_becomes_ready_is_replaced(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "never-ready"}, start_timeout=0.5) as running:
        running.wait_for("a-1", "STARTING")
        row = wait_until(lambda: (row := running.row("a-1"))["restarts"] and row)

        assert row["detail"] == "not ready within 0.5 s"


def test_a_program_that_waits_for_the_broker_is_not_replaced(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "waits", "b": "never-ready"}, start_timeout=3.0) as running:
        # Before it says so it may have taken longer to begin than it is given here.
        wait_until(lambda: running.wait_for("a-1", "STARTING")["detail"] == "broker is away")
        before, of_the_neighbour = running.row("a-1")["restarts"], running.row("b-1")["restarts"]

        wait_until(
            lambda: running.row("b-1")["restarts"] > of_the_neighbour,
            what="the start timeout of the neighbour",
        )

        assert running.row("a-1")["restarts"] == before


def test_a_silent_program_is_replaced(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "good"}, heartbeat_timeout=0.3) as running:
        running.wait_for("a-1", "READY")

        row = wait_until(lambda: (row := running.row("a-1"))["restarts"] and row)

        assert row["detail"] == "silent for 0.3 s"


@pytest.mark.parametrize("mode", ["garbage", "half-lines", "floods"])
def test_a_program_with_strange_status_lines_is_kept_and_the_supervisor_answers(
    tmp_path: Path, mode: str
) -> None:
    with daemon(tmp_path, modes={"a": mode, "b": "good"}) as running:
        assert running.wait_for("a-1", "READY")["restarts"] == 0
        running.wait_for("b-1", "READY")
        assert running.stop() == 0
        assert running.left_behind() == []


def test_a_status_line_without_end_is_the_end_of_the_program(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "endless-line"}) as running:
        running.wait_for("a-1", "BACKOFF")

        assert "longer than 1048576 bytes" in running.row("a-1")["detail"]


def test_a_program_that_drains_of_its_own_accord_is_started_again_but_not_in_a_hot_loop(
    tmp_path: Path,
) -> None:
    with daemon(tmp_path, modes={"a": "drains-itself"}, restart_intensity=2, restart_delay=0.01) as running:
        row = running.wait_for("a-1", "FAILED")

        assert row["restarts"] == 2


def test_what_a_dead_program_leaves_behind_is_ended(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "orphan-maker"}) as running:
        pid = running.wait_for("a-1", "READY")["pid"]
        orphan = wait_until(lambda: [p for p in procinfo.descendants(running.pid) if p != pid])[0]

        os.kill(pid, signal.SIGKILL)

        wait_until(lambda: not procinfo.is_alive(orphan), what="the end of the orphan")


def test_what_another_program_detached_lives_on_until_its_own_program_or_the_daemon_ends(
    tmp_path: Path,
) -> None:
    with daemon(
        tmp_path, {"FAKE_PIDS": str(tmp_path / "pid")}, modes={"a": "detacher", "b": "good"}
    ) as running:
        maker = running.wait_for("a-1", "READY")["pid"]
        written = tmp_path / "pid"
        first = int(wait_until(lambda: written.exists() and written.read_text()))
        neighbour = running.wait_for("b-1", "READY")["pid"]

        os.kill(neighbour, signal.SIGKILL)
        wait_until(lambda: running.row("b-1")["restarts"] == 1)
        assert procinfo.is_alive(first), "it belongs to a-1, which lives"

        os.kill(maker, signal.SIGKILL)
        wait_until(lambda: not procinfo.is_alive(first), what="the end of what a-1 detached")

        wait_until(lambda: int((tmp_path / "pid").read_text()) != first)
        second = int((tmp_path / "pid").read_text())
        assert running.stop() == 0
        assert not procinfo.is_alive(second)


def test_a_program_gets_nothing_but_what_was_promised(tmp_path: Path) -> None:
    leak = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        environ = {"NOTIFY_SOCKET": "/nowhere"}
        with daemon(tmp_path, environ, pass_fds=(leak,), modes={"a": "facts"}, workplace="/") as running:
            detail = wait_until(lambda: running.wait_for("a-1", "BACKOFF")["detail"])
    finally:
        os.close(leak)

    facts = json.loads(detail.partition("\n")[2])
    environment = facts["environment"]
    expected = {"0", "1", "2", environment["TASKD_CONFIG_FD"], environment["TASKD_STATUS_FD"]}
    expected |= set(environment["TASKD_LEDGER_FDS"].split(","))
    assert set(facts["descriptors"]) == expected
    assert facts["descriptors"]["0"] == "/dev/null"
    assert int(facts["blocked"], 16) == sum(1 << number - 1 for number in HELD)  # until it listens
    assert facts["directory"] == "/"
    assert facts["session"] is True
    assert "NOTIFY_SOCKET" not in environment


def test_a_program_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "good"}, workplace="/no/such/place") as running:
        detail = wait_until(lambda: running.wait_for("a-1", "BACKOFF")["detail"])

        assert "a-1 could not be started" in detail
        assert "/no/such/place" in detail
