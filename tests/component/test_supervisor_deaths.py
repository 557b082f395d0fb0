"""Death certificates and hangs: what is known afterwards, where it is kept, and when killing stops."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from taskd.base import exit_codes
from taskd.cli.taskctl import main
from tests.component.supervised import NotifySocket, RunningSupervisor, daemon
from tests.waiting import wait_until


def deaths(running: RunningSupervisor, **params: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.call("deaths", **params)["deaths"]
    return found


def first_death(running: RunningSupervisor, name: str) -> dict[str, Any]:
    return wait_until(lambda: deaths(running, name=name))[0]


def started(running: RunningSupervisor, name: str) -> None:
    """Wait until the daemon answers and has started the program."""
    running.wait_for(name, "READY")


def test_a_crash_is_certified_with_cause_load_words_and_last_lines(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "crashes", "b": "good"}, restart_delay=60.0) as running:
        started(running, "b-1")
        died = first_death(running, "a-1")

    assert (died["program"], died["group"], died["kind"], died["state"]) == ("a-1", "a", "worker", "READY")
    assert died["cause"] == "out of luck (exit status 9)"
    assert died["exit_code"] == 9
    assert died["traceback"] == "Traceback: Luck"
    assert died["output"] == ["about to crash"]
    assert (died["busy"], died["done"], died["oldest_s"]) == (1, 4, 2.5)
    assert died["running"] == [{"id": "17", "name": "shop.add", "pid": 7, "age_s": 2.5}]
    assert died["max_rss_bytes"] > 1_000_000
    assert died["decision"] == "started again at once"
    assert 0 <= died["ready_s"] <= died["lived_s"] + 1


def test_a_kill_from_outside_is_told_from_an_end_that_was_asked_for(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "good", "b": "good"}) as running:
        killed = running.wait_for("a-1", "READY")["pid"]
        started(running, "b-1")

        os.kill(killed, signal.SIGKILL)
        running.call("stop", name="b-1")
        outside, inside = first_death(running, "a-1"), first_death(running, "b-1")

    assert (outside["pid"], outside["signal"], outside.get("asked", False)) == (killed, signal.SIGKILL, False)
    assert (inside["exit_code"], inside["asked"], inside["decision"]) == (0, True, "stays down")
    assert "an operator asked" in inside["reason"]


def test_a_hanging_program_leaves_its_stack_before_it_is_killed(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "hangs"}, heartbeat_timeout=0.3) as running:
        started(running, "a-1")
        died = first_death(running, "a-1")

    assert "in stuck_for_ever" in died["stack"]
    assert died["hang"] == "silent for 0.3 s"
    assert died["cause"] == "silent for 0.3 s, killed (signal SIGKILL)"
    assert died.get("asked", False) is False
    assert "in stuck_for_ever" in running.log


def test_a_stopped_process_gives_no_stack_and_is_killed_all_the_same(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "hangs"}, heartbeat_timeout=0.5) as running:
        pid = running.wait_for("a-1", "READY")["pid"]
        os.kill(pid, signal.SIGSTOP)
        died = first_death(running, "a-1")

    assert died["signal"] == signal.SIGKILL
    assert "stack" not in died


def test_a_program_that_reports_again_when_it_is_asked_for_its_stack_is_not_killed(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "wakes-up"}, heartbeat_timeout=0.3) as running:
        pid = running.wait_for("a-1", "READY")["pid"]
        wait_until(lambda: "reports again" in running.log)

        assert running.row("a-1")["pid"] == pid
        assert deaths(running) == []


def test_kills_in_vain_end_with_an_alarm_that_an_operator_can_end(tmp_path: Path) -> None:
    notify = NotifySocket(tmp_path)
    settings: dict[str, Any] = {"start_timeout": 0.3, "restart_delay": 0.0, "spiral_kills": 2}
    try:
        with daemon(
            tmp_path, {"NOTIFY_SOCKET": notify.path}, modes={"a": "never-ready", "b": "good"}, **settings
        ) as running:
            started(running, "b-1")
            row = wait_until(lambda: (row := running.row("a-1"))["alarm"] and row, 15.0)

            assert row["alarm"].startswith("not ready within 0.3 s, and not killed: 2 kills within 600 s")
            assert (row["state"], row["restarts"]) == ("STARTING", 2)
            assert len(deaths(running, name="a-1")) == 2
            notify.receive_until(
                "STATUS=1 of 2 programs ready; ALARM a-1 not ready within 0.3 s, and not killed"
            )
            assert "alarm: not ready" in running.log

            running.call("restart", name="a-1")
            wait_until(lambda: not running.row("a-1")["alarm"])
    finally:
        notify.close()


# -- the register ----------------------------------------------------------------------------


def test_the_register_outlives_the_daemon(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "good"}) as running:
        started(running, "a-1")
        running.stop()
    with daemon(tmp_path, modes={"a": "good"}) as running:
        started(running, "a-1")
        running.stop()

    assert [each["program"] for each in json.loads((tmp_path / "deaths.json").read_bytes())] == ["a-1"] * 2


def test_the_register_keeps_the_newest(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "dies"}, restart_delay=0.0, deaths_kept=3) as running:
        running.wait_for("a-1", "FAILED")

        assert len(deaths(running, count=100)) == 3
        assert len(deaths(running, count=2)) == 2
        assert deaths(running)[-1]["restarts"] == running.row("a-1")["restarts"]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'[{"program":7}]', b""])
def test_a_damaged_register_is_set_aside_and_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "deaths.json").write_bytes(content)
    with daemon(tmp_path, modes={"a": "good"}) as running:
        started(running, "a-1")
        assert deaths(running) == []
        running.stop()

    assert (tmp_path / "deaths.json.corrupt").read_bytes() == content
    assert "it is set aside as" in running.log
    assert len(json.loads((tmp_path / "deaths.json").read_bytes())) == 1


def test_a_register_of_a_newer_taskd_is_left_alone_and_said(tmp_path: Path) -> None:
    newer = b'{"format":3,"lowest_reader":2,"deaths":{"by program":[]}}'
    (tmp_path / "deaths.json").write_bytes(newer)
    with daemon(tmp_path, modes={"a": "good"}) as running:
        started(running, "a-1")
        running.stop()

    assert (tmp_path / "deaths.json").read_bytes() == newer
    assert "was written by a newer taskd (deaths format 3" in running.log


def test_a_register_to_which_a_newer_taskd_has_only_added_is_read(tmp_path: Path) -> None:
    (tmp_path / "deaths.json").write_bytes(
        b'{"format":2,"lowest_reader":1,"deaths":[{"program":"b-1","mood":"grim"}]}'
    )
    with daemon(tmp_path, modes={"a": "good"}) as running:
        started(running, "a-1")

        assert [each["program"] for each in deaths(running)] == ["b-1"]


def test_a_register_that_cannot_be_written_costs_a_line_in_the_log_only(tmp_path: Path) -> None:
    (tmp_path / "deaths.json.new").symlink_to("/dev/full")
    with daemon(tmp_path, modes={"a": "dies"}, restart_delay=0.0, state_directory=str(tmp_path)) as running:
        running.wait_for("a-1", "FAILED")

        assert deaths(running)
        assert running.log.count("deaths are kept in memory only") == 1
        (trouble,) = running.call("status")["taskd"]["troubles"]
        assert (
            f"deaths are kept in memory only, for {tmp_path}/deaths.json cannot be written: "
            in trouble["text"]
        )

        (tmp_path / "deaths.json.new").unlink()
        wait_until(lambda: not running.call("status")["taskd"]["troubles"])
        assert json.loads((tmp_path / "deaths.json").read_bytes())
        assert running.stop() == 0


def test_a_state_directory_that_is_away_is_told_before_anything_has_died(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with daemon(tmp_path, modes={"a": "good"}, state_directory=str(state)) as running:
        running.wait_for("a-1", "READY")
        assert running.call("status")["taskd"]["troubles"] == []
        state.rmdir()

        assert main(["status", "--socket", running.socket_path]) == exit_codes.OK

        shown = capsys.readouterr().out
        register = f"{state}/deaths.json"
        said = f"TROUBLE taskd: deaths are kept in memory only, for {register} cannot be written: No such"
        assert shown.index(said) < shown.index("NAME"), "the worst first"
        state.mkdir()
        wait_until(lambda: not running.call("status")["taskd"]["troubles"])


# -- taskctl ---------------------------------------------------------------------------------


def test_taskctl_shows_deaths_of_a_running_daemon_and_of_one_that_is_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "taskd.toml"
    config.write_text('app = "x:y"\n[supervisor]\ncontrol_socket = "s"\nstate_directory = "."\n')
    with daemon(tmp_path, modes={"a": "crashes", "b": "good"}, restart_delay=60.0) as running:
        started(running, "b-1")
        first_death(running, "a-1")
        assert main(["--config", str(config), "deaths", "a"]) == exit_codes.OK
        shown = capsys.readouterr().out
        running.stop()

    assert "out of luck (exit status 9)" in shown
    assert "about to crash" in shown
    assert "Traceback: Luck" in shown
    assert "shop.add 17 for 2s in pid 7" in shown
    assert main(["--config", str(config), "deaths", "a-1", "--json"]) == exit_codes.OK
    output = capsys.readouterr()
    assert "taskd is not running" in output.err
    assert json.loads(output.out)["deaths"][0]["exit_code"] == 9


def test_an_unknown_program_has_no_deaths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with daemon(tmp_path, modes={"a": "good"}) as running:
        started(running, "a-1")

        assert main(["deaths", "nail", "--socket", running.socket_path]) == exit_codes.USAGE
        assert "a-1" in capsys.readouterr().err
        assert main(["deaths", "a-1", "--socket", running.socket_path]) == exit_codes.OK
        assert "no deaths" in capsys.readouterr().out
