"""taskctl plan, reload, restart --rolling and config diff with a daemon that really reloads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskd.base import exit_codes
from taskd.brokers.factory import connect
from taskd.cli.taskctl import main
from taskd.config.stores import Stores
from tests.component.reloads import HEAD, pids, running, wait_done, worker, write
from tests.component.supervised import RunningSupervisor, daemon
from tests.contract.brokers import message
from tests.waiting import wait_until

__all__ = ["running"]

Output = pytest.CaptureFixture[str]


def ctl(running: RunningSupervisor, *words: str) -> int:
    return main(["--config", str(running.directory / "taskd.toml"), *words])


def test_plan_shows_each_program_with_the_reason(
    running: RunningSupervisor, tmp_path: Path, capsys: Output
) -> None:
    write(tmp_path, worker("a", processes=2, concurrency=3), worker("b"))

    assert ctl(running, "plan") == exit_codes.OK

    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["a-1", "roll", "worker.a.concurrency: 0 -> 3"] in lines
    assert ["b-1", "keep"] in lines
    assert ctl(running, "plan", "--json") == exit_codes.OK
    assert json.loads(capsys.readouterr().out)["programs"][0]["action"] == "roll"
    assert running.call("status")["taskd"]["reload"]["generation"] == 1


def test_reload_waits_until_the_new_programs_work(
    running: RunningSupervisor, tmp_path: Path, capsys: Output
) -> None:
    before = pids(running)
    write(tmp_path, worker("a", processes=2, concurrency=3), worker("b"), worker("c"))

    assert ctl(running, "reload", "--wait", "--json") == exit_codes.OK

    answer = json.loads(capsys.readouterr().out)
    assert (answer["outcome"], answer["generation"]) == ("done", 2)
    after = pids(running)
    assert after["b-1"] == before["b-1"]
    assert "c-1" in after
    assert not {before["a-1"], before["a-2"]} & set(after.values())


def test_a_reload_that_is_taken_back_fails_with_the_reason(
    running: RunningSupervisor, tmp_path: Path, capsys: Output
) -> None:
    write(tmp_path, worker("a", "dies", processes=2), worker("b"))

    assert ctl(running, "reload", "--wait") == exit_codes.FAILURE

    assert "no module named shop" in capsys.readouterr().err


def test_a_reload_that_fails_names_the_groups_that_have_the_new_configuration_and_those_that_do_not(
    running: RunningSupervisor, tmp_path: Path, capsys: Output
) -> None:
    write(tmp_path, worker("a", "dies", processes=2), worker("c", concurrency=2))

    assert ctl(running, "reload", "--wait") == exit_codes.FAILURE

    reach = "in force: c, b (removed); not in force, as before the reload: a"
    assert f"not put in force everywhere:\n  {reach}\n  a: " in capsys.readouterr().err
    wait_until(lambda: f"failed: {reach}: a: " in running.log)
    assert ctl(running, "status") == exit_codes.OK
    assert f"the last reload failed: {reach}\na: " in capsys.readouterr().out
    row = running.call("status")["taskd"]["reload"]
    assert (row["in_force"], row["not_in_force"]) == (["c", "b (removed)"], ["a"])

    write(tmp_path, worker("a", processes=2), worker("c", concurrency=2))
    assert ctl(running, "reload", "--wait", "--json") == exit_codes.OK
    answer = json.loads(capsys.readouterr().out)
    assert "in_force" not in answer


def test_a_reload_that_takes_too_long_goes_on_without_the_caller(
    running: RunningSupervisor, tmp_path: Path, capsys: Output
) -> None:
    write(tmp_path, worker("a", "never-ready", processes=2), worker("b"))

    assert ctl(running, "reload", "--wait", "--timeout", "100ms") == exit_codes.TEMPFAIL

    assert "a-3 is STARTING" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["plan", "reload"])
def test_a_bad_file_is_refused_with_every_problem(
    running: RunningSupervisor, tmp_path: Path, verb: str, capsys: Output
) -> None:
    before = pids(running)
    (tmp_path / "taskd.toml").write_text("[worker.a]\npool = 3\nqueues = 4\n")

    assert main([verb, "--socket", running.socket_path]) == exit_codes.CONFIG

    errors = capsys.readouterr().err
    assert "worker.a.pool" in errors
    assert "worker.a.queues" in errors
    assert "nothing has changed" in errors
    assert pids(running) == before


@pytest.mark.parametrize("broken", ["[worker.a]\npool = 3\n", "[worker.a\n"], ids=["wrong", "not TOML"])
def test_the_daemon_is_told_of_a_bad_file_and_says_so_where_operators_look(
    running: RunningSupervisor, tmp_path: Path, broken: str, capsys: Output
) -> None:
    before = pids(running)
    write(tmp_path, broken)

    assert ctl(running, "reload") == exit_codes.CONFIG

    said = capsys.readouterr().err
    assert "nothing has changed" in said
    wait_until(lambda: "refused, nothing was changed" in running.log)
    assert ctl(running, "status") == exit_codes.OK
    shown = capsys.readouterr().out
    assert "the last reload failed: nothing of the new configuration is in force\n" in shown
    problem = next(line for line in said.splitlines() if "taskd.toml:" in line)
    assert problem in shown
    assert problem in running.log
    assert pids(running) == before


def test_a_bad_file_is_reported_where_no_daemon_runs(tmp_path: Path, capsys: Output) -> None:
    write(tmp_path, "[worker.a]\npool = 3\n")

    assert main(["--config", str(tmp_path / "taskd.toml"), "reload"]) == exit_codes.CONFIG

    assert "worker.a.pool" in capsys.readouterr().err


def test_what_only_a_restart_changes_is_said(
    running: RunningSupervisor, tmp_path: Path, capsys: Output
) -> None:
    write(tmp_path, worker("a", processes=2), worker("b"), "[control]\nsocket_mode = '0660'\n")

    assert main(["plan", "--socket", running.socket_path]) == exit_codes.OK

    assert 'only a restart of taskd changes control.socket_mode: "0600" -> "0660"' in capsys.readouterr().err


def test_a_rolling_restart_replaces_every_program_and_leaves_other_workers_alone(
    running: RunningSupervisor, capsys: Output
) -> None:
    before = pids(running)

    assert ctl(running, "restart", "a", "--rolling", "--json") == exit_codes.OK

    assert len(json.loads(capsys.readouterr().out)["programs"]) >= 2
    after = pids(running)
    assert after["b-1"] == before["b-1"]
    assert not {before["a-1"], before["a-2"]} & set(after.values())
    assert len(after) == 3


def test_a_rolling_restart_of_one_program_leaves_its_neighbours_alone(running: RunningSupervisor) -> None:
    before = pids(running)

    assert ctl(running, "restart", "a-1", "--rolling") == exit_codes.OK

    assert set(pids(running).values()) & set(before.values()) == {before["a-2"], before["b-1"]}


def test_a_rolling_restart_of_broken_code_leaves_the_old_programs(tmp_path: Path, capsys: Output) -> None:
    code = tmp_path / "code"
    code.touch()
    write(tmp_path, worker("a", f"needs-file {code}", processes=2))
    with daemon(tmp_path, file=True) as running:
        running.wait_for("a-1", "READY")
        running.wait_for("a-2", "READY")
        before = pids(running)
        code.unlink()

        assert ctl(running, "restart", "a", "--rolling") == exit_codes.FAILURE

        assert "gave up the rolling restart" in capsys.readouterr().err
        wait_until(lambda: len(running.call("status")["programs"]) == 2)
        assert pids(running) == before

        code.touch()
        assert ctl(running, "restart", "a", "--rolling") == exit_codes.OK
        assert not set(pids(running).values()) & set(before.values())


def test_config_diff_compares_the_file_with_what_runs_and_with_another_file(
    running: RunningSupervisor, tmp_path: Path, capsys: Output
) -> None:
    write(tmp_path, worker("a", processes=2, concurrency=3), worker("b"))

    assert ctl(running, "config", "diff") == exit_codes.OK
    assert capsys.readouterr().out == "worker.a.concurrency: 0 -> 3\n"
    other = tmp_path / "other.toml"
    other.write_text((tmp_path / "taskd.toml").read_text().replace("concurrency = 3", "concurrency = 4"))
    assert ctl(running, "config", "diff", str(other), "--json") == exit_codes.OK
    assert json.loads(capsys.readouterr().out) == {"version": 1, "changes": ["worker.a.concurrency: 3 -> 4"]}

    running.call("reload")
    wait_done(running)
    ctl(running, "config", "diff")
    assert capsys.readouterr().out == ""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningSupervisor]:
    """A daemon with a broker of its own."""
    write(tmp_path, worker("a"), head=served_by("old.db"))
    with daemon(tmp_path, file=True) as made:
        made.wait_for("a-1", "READY")
        yield made


def served_by(file: str) -> str:
    return f'broker = "sqlite://{file}"\n{HEAD}state_directory = "."\n'


def test_a_broker_that_a_reload_leaves_is_said_everywhere_with_what_waits_there(
    served: RunningSupervisor, tmp_path: Path, capsys: Output
) -> None:
    old = f"sqlite://{tmp_path}/old.db"
    with closing(connect(old, Stores())) as broker:
        broker.publisher().publish([message("waits")])
    write(tmp_path, worker("a"), head=served_by("new.db"))
    capsys.readouterr()

    assert ctl(served, "plan") == exit_codes.OK
    assert f"messages in {old} stay there" in capsys.readouterr().err
    assert ctl(served, "reload") == exit_codes.OK
    assert f"{old}: 1 waits, 0 dead" in capsys.readouterr().err
    assert ctl(served, "status") == exit_codes.OK
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "no worker here takes" in line]
    command = said.rpartition(": taskctl ")[2].split()
    assert main(command) == exit_codes.OK
    assert capsys.readouterr().out.split()[-6:] == ["mail", "1", "0", "0", "0", "0"]
    main(["--config", str(tmp_path / "taskd.toml"), "doctor"])
    assert f"1 message of the former broker {old}" in capsys.readouterr().out
    file = Path(command[1])
    assert file.stat().st_mode & 0o777 == 0o600

    write(tmp_path, worker("a"), head=served_by("old.db"))
    assert ctl(served, "reload", "--wait") == exit_codes.OK
    assert not file.exists()
