"""Reload with real processes that do fake work: what is kept, added, drained, rolled, and given back."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from taskd.host import procinfo
from tests.component.reloads import HEAD, actions, pids, running, wait_done, worker, write
from tests.component.supervised import NotifySocket, RunningSupervisor, daemon
from tests.waiting import wait_until

__all__ = ["running"]


def test_a_file_that_says_the_same_keeps_every_pid(running: RunningSupervisor, tmp_path: Path) -> None:
    before = pids(running)
    write(tmp_path, "# a comment\n", worker("a", processes=2), worker("b"))

    answer = running.call("reload")

    assert set(actions(answer).values()) == {"keep"}
    wait_done(running)
    assert pids(running) == before


def test_each_program_gets_what_the_plan_said(running: RunningSupervisor, tmp_path: Path) -> None:
    before = pids(running)
    write(tmp_path, worker("a", processes=2, concurrency=7), worker("c"))

    planned = running.call("plan")
    assert pids(running) == before, "a plan changes nothing"
    answer = running.call("reload")

    assert actions(planned) == actions(answer) == {"a-1": "roll", "a-2": "roll", "c-1": "add", "b-1": "drain"}
    assert answer["programs"][0]["why"] == ["worker.a.concurrency: 0 -> 7"]
    assert answer["programs"][-1]["why"] == ["[worker.b] is gone from the file"]
    wait_done(running)
    wait_until(lambda: len(pids(running)) == 3 and len(running.call("status")["programs"]) == 3)
    after = pids(running)
    assert not set(after.values()) & set(before.values())
    assert "b-1" not in after


def test_more_and_fewer_processes_do_not_touch_the_others(running: RunningSupervisor, tmp_path: Path) -> None:
    before = pids(running)

    write(tmp_path, worker("a", processes=3), worker("b"))
    assert actions(running.call("reload"))["a-3"] == "add"
    wait_done(running)
    assert {name: pids(running)[name] for name in before} == before

    write(tmp_path, worker("a", processes=1), worker("b"))
    drained = {name for name, action in actions(running.call("reload")).items() if action == "drain"}
    wait_done(running, generation=3)
    wait_until(lambda: len(running.call("status")["programs"]) == 2)
    assert len(drained) == 2
    assert pids(running).items() <= before.items()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("app = [", "not TOML"),
        ('app = "a:b"\n[supervisor]\nstop_timeot = 3\n', "stop_timeout"),
        ('[worker.a]\nqueues = []\npool = "procces"\n', "prefork"),
    ],
)
def test_a_bad_file_changes_nothing_and_says_every_problem(
    running: RunningSupervisor, tmp_path: Path, text: str, problem: str
) -> None:
    before = pids(running)
    (tmp_path / "taskd.toml").write_text(text)

    answer = running.call("reload")

    assert not answer["ok"]
    assert problem in "\n".join(answer["problems"])
    assert answer["programs"] == []
    assert running.call("status")["taskd"]["reload"]["outcome"] == "failed"
    assert pids(running) == before
    assert "refused, nothing was changed" in running.log


def test_a_file_that_is_gone_changes_nothing(running: RunningSupervisor, tmp_path: Path) -> None:
    before = pids(running)
    (tmp_path / "taskd.toml").unlink()

    assert "cannot be read" in running.call("reload")["problems"][0]
    assert pids(running) == before


def test_a_pipe_in_the_place_of_the_file_does_not_stop_the_daemon(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    before = pids(running)
    (tmp_path / "taskd.toml").unlink()
    os.mkfifo(tmp_path / "taskd.toml")

    assert "not a regular file" in running.call("reload")["problems"][0]
    assert pids(running) == before


def test_a_file_that_is_half_written_is_refused_although_its_half_is_sound(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    before = pids(running)
    with (tmp_path / "taskd.toml").open("w") as file:
        file.write(HEAD + worker("a", processes=2))
        file.flush()

        answer = running.call("reload")

        assert not answer["ok"]
        assert "somebody is writing this file" in answer["problems"][0]
        assert pids(running) == before
        file.write(worker("b"))
    assert running.call("reload")["ok"]
    wait_done(running)
    assert pids(running) == before


def test_settings_of_the_supervisor_reach_programs_that_run(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    before = pids(running)
    write(tmp_path, worker("a", processes=2), worker("b", "ignores-term"))
    running.call("reload")
    wait_done(running)
    write(tmp_path, worker("a", processes=2), worker("b", "ignores-term"), head=HEAD + "stop_timeout = 0\n")

    assert set(actions(running.call("reload")).values()) == {"live"}

    wait_done(running, generation=3)
    assert pids(running).items() >= {name: before[name] for name in ("a-1", "a-2")}.items()
    (row,) = running.call("stop", name="b")["programs"]
    running.wait_for(row["name"], "DOWN")  # by SIGQUIT at once, not after the five minutes of before


def test_a_new_configuration_whose_programs_die_is_given_back(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    before = pids(running)
    write(tmp_path, worker("a", "dies", processes=2), worker("b"))

    running.call("reload")
    ended = wait_done(running, "failed")

    assert "no module named shop" in ended["troubles"][0]
    wait_until(lambda: len(running.call("status")["programs"]) == 3)
    assert pids(running) == before, "the old programs never stopped"
    assert "goes back to revision 1" in running.log

    write(tmp_path, worker("a", "good", processes=2, concurrency=3), worker("b"))
    running.call("reload")
    wait_done(running, generation=3)


def test_a_canary_that_becomes_ready_and_then_dies_is_no_success(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    before = pids(running)
    head = HEAD.replace("canary_time = 0", "canary_time = 30")
    write(tmp_path, worker("a", "good-then-dies", processes=2), worker("b"), head=head)

    running.call("reload")
    wait_done(running, "failed")

    wait_until(lambda: len(running.call("status")["programs"]) == 3)
    assert pids(running) == before


def test_a_second_reload_takes_over_from_one_that_hangs(running: RunningSupervisor, tmp_path: Path) -> None:
    before = pids(running)
    write(tmp_path, worker("a", "never-ready", processes=2), worker("b"))
    running.call("reload")
    wait_until(lambda: running.call("status")["taskd"]["reload"]["outcome"] == "under way")

    write(tmp_path, worker("a", processes=2), worker("b"))
    for _ in range(3):
        running.signal(signal.SIGHUP)
    assert running.call("reload")["ok"]

    wait_done(running, generation=3)
    wait_until(lambda: len(running.call("status")["programs"]) == 3)
    assert pids(running) == before


def test_what_the_operator_stopped_stays_stopped_over_a_reload(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    running.call("stop", name="a-1")
    running.wait_for("a-1", "DOWN")
    write(tmp_path, worker("a", processes=2, concurrency=5), worker("b"))

    running.call("reload")
    wait_done(running)

    assert running.row("a-1")["wanted"] is False
    assert running.row("a-1")["state"] == "DOWN"
    running.call("start", name="a-1")
    assert running.wait_for("a-1", "READY")["generation"] == 2


def test_a_program_that_crashes_during_a_reload_starts_with_what_it_had(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    write(tmp_path, worker("a", "never-ready", processes=2), worker("b"))
    running.call("reload")

    os.kill(running.row("a-1")["pid"], signal.SIGKILL)

    assert wait_until(lambda: (row := running.row("a-1"))["restarts"] and row["state"] == "READY" and row)
    assert running.row("a-1")["generation"] == 1


def test_a_stop_in_the_middle_of_a_reload_is_obeyed(running: RunningSupervisor, tmp_path: Path) -> None:
    write(tmp_path, worker("a", "never-ready", processes=2), worker("c", "never-ready"))
    running.call("reload")

    assert running.stop() == 0
    assert not running.left_behind()


def test_a_hup_while_taskd_stops_starts_nothing(tmp_path: Path) -> None:
    write(tmp_path, worker("a", "ignores-term"), head=HEAD + 'stop_timeout = "1s"\n')
    with daemon(tmp_path, file=True) as running:
        running.wait_for("a-1", "READY")
        running.signal(signal.SIGTERM)
        running.wait_for("a-1", "DRAINING")
        write(tmp_path, worker("a"), worker("b"))

        running.signal(signal.SIGHUP)

        assert running.wait() == 0
        assert "revision=2" not in running.log


def test_a_hup_during_the_start_is_obeyed(tmp_path: Path) -> None:
    write(tmp_path, worker("a", "never-ready"))
    with daemon(tmp_path, file=True) as running:
        running.wait_for("a-1", "STARTING")
        write(tmp_path, worker("a"))

        running.signal(signal.SIGHUP)

        wait_done(running)
        assert len(pids(running)) == 1


def test_systemd_hears_of_the_begin_and_the_end_of_each_reload(tmp_path: Path) -> None:
    notify = NotifySocket(tmp_path)
    write(tmp_path, worker("a"))
    with daemon(tmp_path, {"NOTIFY_SOCKET": notify.path}, file=True) as running:
        notify.receive_until("READY=1")
        write(tmp_path, worker("a", concurrency=2))

        running.signal(signal.SIGHUP)

        begin = [text for text, _ in notify.receive_until("RELOADING=1")][-1]
        assert int(begin.partition("MONOTONIC_USEC=")[2]) > 0
        notify.receive_until("READY=1")
        assert running.call("status")["taskd"]["reload"]["outcome"] == "done"

        (tmp_path / "taskd.toml").write_text("app = [")
        running.signal(signal.SIGHUP)
        notify.receive_until("RELOADING=1")
        notify.receive_until("READY=1")
        status = [text for text, _ in notify.receive_until("STATUS=")][-1]
        assert "reload failed" in status
    notify.close()


def are_ready(running: RunningSupervisor, count: int) -> bool:
    return len(pids(running)) == count


def test_the_scale_signals_change_every_worker_by_one_and_leave_one(running: RunningSupervisor) -> None:
    before = pids(running)

    running.signal(signal.SIGTTIN)
    wait_until(lambda: set(pids(running)) == {"a-1", "a-2", "a-3", "b-1", "b-2"})
    for number in range(3):
        running.signal(signal.SIGTTOU)
        wait_until(partial(are_ready, running, max(2, 3 - number)))

    wait_until(lambda: len(running.call("status")["programs"]) == 2)
    assert pids(running).items() <= before.items()


def test_no_descriptor_is_left_by_many_reloads(running: RunningSupervisor, tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{running.pid}/fd"))

    write(tmp_path, worker("a", processes=2), worker("b"))
    running.call("reload")
    wait_done(running)
    before = descriptors()

    for number in range(3, 8):
        write(tmp_path, worker("a", processes=2), worker("b", concurrency=number))
        running.call("reload")
        wait_done(running, generation=number)

    wait_until(lambda: descriptors() <= before + 1, what="no descriptor more")
    assert procinfo.is_alive(running.pid)


def test_a_program_that_drains_past_the_end_of_a_reload_leaves_no_descriptor(
    running: RunningSupervisor, tmp_path: Path
) -> None:
    def configurations() -> int:
        links = []
        for each in Path(f"/proc/{running.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                links.append(os.readlink(each))
        return sum("taskd-config" in link for link in links)

    for number in range(2, 6):
        slow = worker("b", "ignores-term", concurrency=number, stop_timeout=1)
        write(tmp_path, worker("a", processes=2), slow)
        running.call("reload")
        wait_done(running, generation=number)

    assert running.call("status")["taskd"]["reload"]["outcome"] == "done"
    # One for each program, and one for b-1 as it was at first, with which the others of its revision go on.
    wait_until(lambda: configurations() <= 4, what="a configuration for each program that is left")


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_without_bounds_in_the_file_costs_the_reload_and_not_the_daemon(
    running: RunningSupervisor, tmp_path: Path, digits: int
) -> None:
    before = pids(running)
    write(tmp_path, worker("a", processes=2), worker("b"), f"soft_time_limit = {'9' * digits}\n")

    running.signal(signal.SIGHUP)
    wait_done(running, outcome="failed", generation=1)
    assert running.call("reload")["ok"] is False

    assert pids(running) == before
    noted = wait_until(lambda: [line for line in running.log.splitlines() if "verb=reload" in line])
    assert "outcome='failed: refused: " in noted[0]


def test_an_error_of_the_checker_itself_refuses_the_reload_and_costs_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, worker("a"))
    with daemon(tmp_path, {"FAKE_BROKEN_CHECKER": "1"}, file=True) as running:
        pid = running.wait_for("a-1", "READY")["pid"]

        answer = running.call("reload")
        running.signal(signal.SIGHUP)

        assert answer["ok"] is False
        assert "it could not be checked: internal error: ZeroDivisionError" in answer["problems"][0]
        wait_until(lambda: running.log.count("could not be checked for an unforeseen error") == 2)
        assert running.row("a-1")["pid"] == pid
        assert running.stop() == 0
