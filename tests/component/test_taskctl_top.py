"""taskctl top: once, in a pipe, and in a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd.base import exit_codes
from taskd.cli.taskctl import main
from tests.component.supervised import RunningSupervisor, daemon


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningSupervisor]:
    with daemon(tmp_path, modes={"mail": "good"}) as running:
        running.wait_for("mail-1", "READY")
        yield running


def test_one_table_is_measured_and_printed(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "--once", "--every", "50ms", "--socket", running.socket_path]) == exit_codes.OK

    head, row, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == [
        *("NAME", "STATE", "FOR", "PID", "BUSY", "RESERVED", "WAITING"),
        *("TASKS/S", "CPU", "MEMORY", "OLDEST"),
    ]
    cells = row.split()
    assert cells[:2] == ["mail-1", "READY"]
    assert cells[7] == "0.0"
    assert cells[8].endswith("%")


def test_json_has_the_rates_beside_the_row(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["top", "--once", "--json", "--every", "50ms", "--socket", running.socket_path]

    assert main(words) == exit_codes.OK

    (row,) = json.loads(capsys.readouterr().out)["programs"]
    assert (row["name"], row["tasks_per_s"], row["done"]) == ("mail-1", 0.0, 7)
    assert row["cpu"] >= 0


def test_in_a_pipe_it_goes_on_until_its_time_is_over(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    def frames(time: str) -> int:
        words = ["top", "--every", "20ms", "--timeout", time, "--socket", running.socket_path]
        assert main(words) == exit_codes.OK
        return capsys.readouterr().out.count("mail-1")

    # A busy machine may need a longer time for a second one.
    assert any(frames(time) >= 2 for time in ("300ms", "3s", "30s"))


def test_no_daemon_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--socket", str(tmp_path / "none")]) == exit_codes.UNAVAILABLE

    assert "taskd is not running" in capsys.readouterr().err


def test_in_a_terminal_it_is_renewed_until_q(running: RunningSupervisor) -> None:
    controller, terminal = pty.openpty()
    program = "import sys\nfrom taskd.cli.taskctl import main\nsys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "top", "--every", "30s", "--socket", running.socket_path],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "150", "LINES": "40"},
    )
    os.close(terminal)
    shown = read_until(controller, b"mail-1")
    assert b"1 of 1 program ready" in shown

    os.write(controller, b"xq")

    read_until(controller, b"\x1b[?1049l")  # the former screen comes back
    assert process.wait(60) == exit_codes.OK
    os.close(controller)


def test_a_terminal_that_cannot_renew_gets_one_table_after_the_other(running: RunningSupervisor) -> None:
    controller, terminal = pty.openpty()
    program = "import sys\nfrom taskd.cli.taskctl import main\nsys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "top", "--every", "50ms", "--socket", running.socket_path],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "150", "LINES": "40"},
    )
    os.close(terminal)
    read_until(controller, b"mail-1")

    process.send_signal(signal.SIGINT)

    assert process.wait(60) == exit_codes.OK
    os.close(controller)


def read_until(fd: int, text: bytes, timeout_s: float = 20.0) -> bytes:
    data, deadline = b"", time.monotonic() + timeout_s
    while text not in data:
        left_s = deadline - time.monotonic()
        assert left_s > 0, data
        assert select.select([fd], [], [], left_s)[0], data
        data += os.read(fd, 65536)
    return data
