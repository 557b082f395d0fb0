"""taskctl and a running daemon: status, start, stop and restart over the control socket."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd.base import exit_codes
from taskd.cli.taskctl import main
from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningSupervisor]:
    """Two good programs and one that dies at its start."""
    modes = {"mail": "good", "io": "good", "bad": "dies", "deaf": "ignores-term"}
    with daemon(
        tmp_path, modes=modes, restart_delay=60.0, restart_delay_max=60.0, stop_timeout=30.0
    ) as started:
        for name in ("mail-1", "io-1", "deaf-1"):
            started.wait_for(name, "READY")
        started.wait_for("bad-1", "BACKOFF")
        yield started


def config(running: RunningSupervisor) -> str:
    path = running.directory / "taskd.toml"
    path.write_text(f'app = "x:y"\n[supervisor]\ncontrol_socket = "{running.socket_path}"\n')
    return str(path)


def test_status_shows_every_program_and_what_is_wrong(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", config(running), "status"]) == exit_codes.OK

    output = capsys.readouterr().out
    rows = {line.split()[0]: line for line in output.splitlines() if line}
    assert rows["NAME"].split()[:5] == ["NAME", "STATE", "FOR", "PID", "RESTARTS"]
    assert "READY" in rows["mail-1"]
    assert str(running.row("mail-1")["pid"]) in rows["mail-1"]
    assert "BACKOFF" in rows["bad-1"]
    assert "bad-1: " in output
    assert "no module named shop" in output
    assert "3 of 4 programs ready" in output


def test_status_shows_the_troubles_of_programs_that_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon(tmp_path, modes={"mail": "troubled"}) as running:
        running.wait_for("mail-1", "READY")
        wait_until(lambda: running.row("mail-1")["troubles"])
        socket = ["--socket", running.socket_path]

        assert main(["status", *socket]) == exit_codes.OK
        shown = capsys.readouterr().out
        assert shown.index("\nTROUBLE mail-1: the disk is full (for ") < shown.index("NAME"), (
            "the worst first"
        )
        assert main(["status", "--json", *socket]) == exit_codes.OK
        (row,) = json.loads(capsys.readouterr().out)["programs"]
        assert row["troubles"] == [{"text": "the disk is full", "since": 1.0}]


def test_status_as_json_has_every_field(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--json", "--socket", running.socket_path]) == exit_codes.OK

    answer = json.loads(capsys.readouterr().out)
    (mail,) = (row for row in answer["programs"] if row["name"] == "mail-1")
    assert set(running.row("mail-1")) <= set(mail)
    assert (mail["state"], mail["busy"], mail["reserved"], mail["done"]) == ("READY", 2, 3, 7)
    assert answer["taskd"]["pid"] == running.pid


def test_stop_start_and_restart_wait_until_it_is_so(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = ["--socket", running.socket_path]
    first = running.row("mail-1")["pid"]

    assert main(["stop", "mail", *socket]) == exit_codes.OK
    assert capsys.readouterr().out == "mail-1: DOWN\n"
    assert running.row("mail-1")["state"] == "DOWN"
    assert main(["start", "mail-1", *socket]) == exit_codes.OK
    second = running.row("mail-1")["pid"]
    assert main(["restart", "mail-1", *socket, "--json"]) == exit_codes.OK
    third = running.row("mail-1")["pid"]

    assert len({first, second, third}) == 3
    assert running.row("mail-1")["state"] == "READY"


def test_what_takes_too_long_is_said_with_its_state(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["stop", "deaf-1", "--timeout", "200ms", "--socket", running.socket_path])

    assert status == exit_codes.TEMPFAIL
    assert "not done in time: deaf-1 is DRAINING" in capsys.readouterr().err


def test_zero_as_a_time_limit_returns_at_once(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stop", "deaf-1", "--timeout", "0", "--socket", running.socket_path]) == exit_codes.OK

    assert capsys.readouterr().out == "deaf-1: DRAINING\n"


def test_a_start_that_fails_shows_the_last_error(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["start", "bad-1", "--socket", running.socket_path]) == exit_codes.FAILURE

    assert "no module named shop" in capsys.readouterr().err


def test_an_unknown_program_is_refused_with_the_nearest_name(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stop", "mial", "--socket", running.socket_path]) == exit_codes.USAGE

    assert 'there is no program "mial"; did you mean "mail"?' in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["status"], ["stop", "mail"], ["start", "mail"], ["restart", "mail"]])
def test_without_a_daemon_a_verb_says_so(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = str(tmp_path / "none.sock")

    assert main([*verb, "--socket", socket]) == exit_codes.UNAVAILABLE

    assert capsys.readouterr().err.startswith(f"taskctl: taskd is not running: nobody listens on {socket}")


def test_a_daemon_that_is_down_shows_what_it_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with daemon(tmp_path, modes={"mail": "good"}) as running:
        running.wait_for("mail-1", "READY")
        wait_until(lambda: '"READY"' in Path(running.socket_path + ".state").read_text())
        running.signal(signal.SIGKILL)
        running.wait()

    assert main(["status", "--socket", running.socket_path]) == exit_codes.UNAVAILABLE

    shown = capsys.readouterr()
    assert f"taskd (pid {running.pid}) was killed or lost; its state changed last" in shown.out
    assert "mail-1  READY" in shown.out
    assert "taskd is not running" in shown.err

    assert main(["status", "--json", "--socket", running.socket_path]) == exit_codes.UNAVAILABLE
    answer = json.loads(capsys.readouterr().out)
    assert (answer["running"], answer["last"]["ended"]) == (False, False)
    assert answer["last"]["programs"][0]["name"] == "mail-1"


@pytest.mark.parametrize("left", [None, b"", b"{", b"[]", b'{"written": "x"}', b'{"taskd": {"\xff": 1}}'])
def test_a_state_file_that_cannot_be_read_is_none(
    left: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if left is not None:
        (tmp_path / "s.state").write_bytes(left)

    assert main(["status", "--json", "--socket", str(tmp_path / "s")]) == exit_codes.UNAVAILABLE

    assert json.loads(capsys.readouterr().out)["last"] is None


def test_a_signal_reaches_the_process(running: RunningSupervisor, capsys: pytest.CaptureFixture[str]) -> None:
    socket = ["--socket", running.socket_path]
    pid = running.row("mail-1")["pid"]

    assert main(["signal", "mail", "kill", *socket]) == exit_codes.OK
    assert capsys.readouterr().out == f"mail-1: KILL sent to pid {pid}\n"
    wait_until(lambda: running.row("mail-1")["pid"] not in {pid, None})

    assert main(["signal", "mail", "BOOM", *socket]) == exit_codes.FAILURE
    assert "there is no signal 'BOOM'" in capsys.readouterr().err
    assert main(["signal", "bad-1", "TERM", *socket]) == exit_codes.FAILURE
    assert "no process to send SIGTERM to: bad-1 is BACKOFF" in capsys.readouterr().err


def test_shutdown_waits_until_the_daemon_is_gone(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = ["--socket", running.socket_path]

    assert main(["shutdown", "--timeout", "1ms", *socket]) == exit_codes.TEMPFAIL
    late = capsys.readouterr().err
    assert "not done in time: " in late
    assert "deaf-1 is DRAINING" in late
    assert main(["shutdown", "--timeout", "0", *socket]) == exit_codes.OK
    assert main(["signal", "deaf-1", "KILL", *socket]) == exit_codes.OK
    capsys.readouterr()
    running.wait()

    assert main(["shutdown", *socket]) == exit_codes.UNAVAILABLE


def test_a_cold_shutdown_ends_what_a_warm_one_waits_for(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["shutdown", "--cold", "--json", "--socket", running.socket_path]) == exit_codes.OK

    assert json.loads(capsys.readouterr().out) == {"version": 1, "cold": True, "ended": True}
    assert running.wait() == 0
