"""taskctl logs against a running daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd.base import exit_codes
from taskd.cli.taskctl import main
from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningSupervisor]:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with daemon(tmp_path, {"FAKE_GATE": str(gate)}, modes={"a": "prints", "b": "on-demand"}) as running:
        running.wait_for("a-1", "READY")
        running.wait_for("b-1", "READY")
        wait_until(lambda: len(running.call("logs", name="a-1")["lines"]) == 7)
        yield running


def test_the_last_lines_are_shown(running: RunningSupervisor, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "a-1", "-n", "3", "--socket", running.socket_path]) == exit_codes.OK

    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["line 5", "\\xff\\x00 garbage"]
    assert shown[2].endswith(" a warning")  # which came without a time of its own


def test_json_tells_all_of_each_line(running: RunningSupervisor, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "a", "-n", "1", "--json", "--socket", running.socket_path]) == exit_codes.OK

    (line,) = json.loads(capsys.readouterr().out)["lines"]
    assert (line["program"], line["number"], line["priority"], line["text"]) == ("a-1", 7, 4, "a warning")


def test_an_unknown_program_is_an_error_with_the_known_ones(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", "nail", "--socket", running.socket_path]) == exit_codes.USAGE

    assert "a-1, b-1" in capsys.readouterr().err


def test_followed_lines_are_shown_as_they_come(running: RunningSupervisor) -> None:
    code = "import sys; from taskd.cli.taskctl import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "logs", "b-1", "-f", "--json", "--socket", running.socket_path]
    with (running.directory / "gate").open("w") as orders:
        orders.write("before\n")
        orders.flush()
        wait_until(lambda: running.call("logs", name="b-1")["lines"])
        with subprocess.Popen(command, stdout=subprocess.PIPE) as follower:
            assert follower.stdout is not None
            assert json.loads(follower.stdout.readline())["text"] == "before"

            orders.write("during\n")
            orders.flush()

            assert json.loads(follower.stdout.readline())["text"] == "during"
            follower.kill()


def follower(running: RunningSupervisor, name: str) -> subprocess.Popen[str]:
    code = "import sys; from taskd.cli.taskctl import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "logs", name, "-n", "1", "-f", "--socket", running.socket_path]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_ends_following_without_a_word(running: RunningSupervisor) -> None:
    with follower(running, "a-1") as follows:
        assert follows.stdout is not None
        assert follows.stdout.readline().endswith(" a warning\n")

        follows.send_signal(signal.SIGINT)

        assert follows.communicate(timeout=60) == ("", "")
        assert follows.returncode == exit_codes.OK


def test_the_next_daemon_is_followed_when_the_first_has_ended(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "prints"}) as first:
        first.wait_for("a-1", "READY")
        wait_until(lambda: len(first.call("logs", name="a-1")["lines"]) == 7, 10)
        with follower(first, "a-1") as follows:
            assert follows.stdout is not None
            assert follows.stderr is not None
            assert follows.stdout.readline().endswith(" a warning\n")

            first.stop()

            assert "waiting for taskd" in follows.stderr.readline()
            with daemon(tmp_path, modes={"a": "prints"}):
                shown = [follows.stdout.readline() for _ in range(7)]
            follows.kill()
    assert shown[4] == "line 5\n"
    assert shown[6].endswith(" a warning\n")


def test_lines_of_the_daemon_itself_show_their_time_once(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", "taskd", "--socket", running.socket_path]) == exit_codes.OK

    shown = capsys.readouterr().out.splitlines()
    assert any(line.endswith(" ready") for line in shown)
    assert {len(re.findall(r"\d\d:\d\d:\d\d", line)) for line in shown} == {1}
