"""A process gets what its table says; what it cannot get is said with the remedy."""

from __future__ import annotations

import grp
import json
import os
import pwd
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from taskd.host import procinfo
from tests.component.processes import is_gone
from tests.component.program_tables import program, python
from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change users")

#: Writes what it was given into the file that its first argument names.
_FACTS = """
import json, os, resource, sys, time
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
facts = {
    "uids": os.getresuid(), "gids": os.getresgid(), "groups": sorted(os.getgroups()),
    "umask": os.umask(0), "directory": os.getcwd(), "environment": dict(os.environ),
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE), "core": resource.getrlimit(resource.RLIMIT_CORE),
    "nice": os.getpriority(os.PRIO_PROCESS, 0), "cpus": sorted(os.sched_getaffinity(0)),
    "oom": int(open("/proc/self/oom_score_adj").read()), "no_new_privs": int(status["NoNewPrivs"]),
    "descriptors": sorted(os.listdir("/proc/self/fd")),
}
with open(sys.argv[1] + ".part", "w") as file:
    json.dump(facts, file)
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(600)
"""


def facts_of(running: RunningSupervisor, path: Path) -> dict[str, Any]:
    wait_until(path.exists, 10.0, f"{path}\n{running.log}")
    facts: dict[str, Any] = json.loads(path.read_text())
    return facts


def test_a_program_gets_the_settings_of_its_table(tmp_path: Path) -> None:
    (tmp_path / "vars").write_text("A=file\nB='of file'\n")
    table = program(
        "x",
        *python(_FACTS, str(tmp_path / "facts")),
        umask="027",
        env_file=str(tmp_path / "vars"),
        environment={"A": "table"},
        directory="/usr",
        limits={"nofile": [100, 200], "core": 0},
        nice=3,
        cpu_affinity=[0],
        oom_score_adj=500,
    )
    with daemon(tmp_path, toml=table) as running:
        facts = facts_of(running, tmp_path / "facts")

    assert (facts["umask"], facts["directory"]) == (0o027, "/usr")
    assert (facts["environment"]["A"], facts["environment"]["B"]) == ("table", "of file")
    assert (facts["nofile"], facts["core"]) == ([100, 200], [0, 0])
    assert (facts["nice"], facts["cpus"], facts["oom"]) == (3, [0], 500)
    assert facts["no_new_privs"] == 0


def test_one_process_of_a_worker_can_not_have_all_memory(tmp_path: Path) -> None:
    def data_limit(name: str, limits: str = "") -> list[int]:
        place = tmp_path / name
        place.mkdir()
        table = f'[worker.a]\napp = "x:y"\n{limits}environment = {{ FAKE_MODE = "facts" }}\n'
        with daemon(place, toml=table) as running:
            detail = wait_until(lambda: running.wait_for("a-1", "BACKOFF")["detail"])
        found: list[int] = json.loads(detail.partition("\n")[2])["data"]
        return found

    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    assert data_limit("by-default") == [int(machine * 0.75), -1]
    assert data_limit("chosen", 'limits = { data = "1GiB" }\n') == [1 << 30, 1 << 30]


def test_another_command_gets_neither_the_configuration_nor_a_status_descriptor(tmp_path: Path) -> None:
    with daemon(tmp_path, toml=program("x", *python(_FACTS, str(tmp_path / "facts")))) as running:
        facts = facts_of(running, tmp_path / "facts")

    assert not {"TASKD_CONFIG_FD", "TASKD_STATUS_FD", "TASKD_SUPERVISOR_PID"} & set(facts["environment"])
    assert facts["descriptors"] == ["0", "1", "2", "3"]  # 3 is the listing itself


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that every user may write to; pytest's own are for their owner alone."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


def identity_of(running: RunningSupervisor, place: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return /proc/self/status and the environment that the command of ``identity`` wrote."""
    wait_until((place / "done").exists, 10.0, running.log)
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    variables = dict(each.partition("=")[::2] for each in (place / "env").read_text().splitlines())
    return {key: value.split() for key, value in status.items()}, variables


def identity(place: Path, **keys: object) -> str:
    shell = f"cd {place}; cat /proc/self/status > status; env > env; : > done; exec sleep 600"
    return program("x", "/bin/sh", "-c", shell, **keys)


@needs_root
def test_a_program_runs_as_its_user_with_that_users_groups_and_gains_no_privileges(
    tmp_path: Path, open_place: Path
) -> None:
    nobody = pwd.getpwnam("nobody")
    with daemon(tmp_path, toml=identity(open_place, user="nobody")) as running:
        status, variables = identity_of(running, open_place)

    assert status["Uid"] == [str(nobody.pw_uid)] * 4
    assert status["Gid"] == [str(nobody.pw_gid)] * 4
    assert sorted(map(int, status["Groups"])) == sorted(os.getgrouplist("nobody", nobody.pw_gid))
    assert (variables["HOME"], variables["USER"]) == (nobody.pw_dir, "nobody")
    assert status["NoNewPrivs"] == ["1"]


@needs_root
def test_a_program_of_another_user_dies_with_the_daemon_too(tmp_path: Path, open_place: Path) -> None:
    with daemon(tmp_path, toml=identity(open_place, user="nobody")) as running:
        identity_of(running, open_place)
        pid = running.row("x-1")["pid"]
        assert procinfo.is_alive(pid)

        running.signal(signal.SIGKILL)  # the death signal must have been set again after setuid cleared it

        wait_until(lambda: not procinfo.is_alive(pid), what="the end of the program")


@needs_root
def test_group_and_supplementary_groups_can_be_chosen(tmp_path: Path, open_place: Path) -> None:
    keys = {"user": "nobody", "group": "daemon", "groups": ["mail"], "no_new_privileges": False}
    with daemon(tmp_path, toml=identity(open_place, **keys)) as running:
        status, _ = identity_of(running, open_place)

    gid = grp.getgrnam("daemon").gr_gid
    assert status["Gid"] == [str(gid)] * 4
    assert sorted(map(int, status["Groups"])) == sorted([gid, grp.getgrnam("mail").gr_gid])
    assert status["NoNewPrivs"] == ["0"]


@needs_root
def test_beside_programs_of_other_users_a_worker_is_root_only_if_its_table_says_so(tmp_path: Path) -> None:
    tables = "".join(
        f'[worker.{name}]\napp = "x:y"\nenvironment = {{ FAKE_MODE = "good" }}\n{user}'
        for name, user in (("nobodys", ""), ("roots", 'user = "root"\n'))
    )
    with daemon(tmp_path, toml=tables) as running:
        running.wait_for("roots-1", "READY")
        detail = wait_until(lambda: running.row("nobodys-1")["detail"])

        assert "it would run as root beside programs of other users" in detail
        assert running.row("nobodys-1")["state"] != "READY"


def test_a_worker_is_run_by_the_interpreter_of_its_table(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexport VIA=other\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    table = f'[worker.a]\napp = "x:y"\ninterpreter = "{other}"\nenvironment = {{ FAKE_MODE = "facts" }}\n'
    with daemon(tmp_path, toml=table) as running:
        detail = wait_until(lambda: running.wait_for("a-1", "BACKOFF")["detail"])

    assert json.loads(detail.partition("\n")[2])["environment"]["VIA"] == "other"


GOOD = program("good", "/bin/sleep", "600", ready_after=0)

BROKEN = [
    ({"user": "no-such-user"}, 'user: there is no user "no-such-user"; create user and group'),
    (
        {"user": "root", "group": "no-such-group"},
        "user: there is no group 'no-such-group'; create user and group",
    ),
    ({"directory": "/no/dir"}, "directory: No such file or directory (/no/dir); create it, or let"),
    ({"env_file": "/no/file"}, "env_file: No such file or directory (/no/file); correct the file"),
    ({"cpu_affinity": [4000]}, "cpu_affinity: Invalid argument; name processors that this machine has"),
]


@pytest.mark.parametrize(("keys", "expected"), [*BROKEN], ids=lambda value: str(value)[:20])
def test_a_step_that_fails_is_named_with_its_remedy_and_the_others_do_not_notice(
    tmp_path: Path, keys: dict[str, object], expected: str
) -> None:
    if "user" in keys and os.geteuid() != 0:
        pytest.skip("only root can change users")
    with daemon(tmp_path, toml=GOOD + program("bad", "/bin/true", **keys)) as running:
        detail = wait_until(lambda: running.wait_for("bad-1", "BACKOFF")["detail"])

        assert detail.startswith(f"bad-1 could not be started: {expected}"), detail
        assert running.wait_for("good-1", "READY")["restarts"] == 0
        assert running.stop() == 0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/no/such/command", "command: /no/such/command: No such file or directory; install it, or correct"),
        ("no-such-command", 'command: "no-such-command" is not found on PATH ('),
        ("/etc/passwd", "command: /etc/passwd: Permission denied; make it executable"),
    ],
)
def test_a_command_that_cannot_be_executed_is_named_with_its_remedy(
    tmp_path: Path, command: str, expected: str
) -> None:
    with daemon(tmp_path, toml=GOOD + program("bad", command)) as running:
        detail = wait_until(lambda: running.wait_for("bad-1", "BACKOFF")["detail"])

        assert detail.startswith(f"bad-1 could not be started: {expected}"), detail
        assert running.wait_for("good-1", "READY")["restarts"] == 0


def test_an_interpreter_that_is_missing_is_named(tmp_path: Path) -> None:
    table = '[worker.a]\napp = "x:y"\ninterpreter = "/no/python"\n'
    with daemon(tmp_path, toml=GOOD + table) as running:
        detail = wait_until(lambda: running.wait_for("a-1", "BACKOFF")["detail"])

        assert "a-1 could not be started: command: /no/python: No such file or directory" in detail
        running.wait_for("good-1", "READY")


def test_a_command_that_forks_away_is_caught_and_told_to_stay_in_the_foreground(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "while not os.path.exists(sys.argv[1]):\n"
        "    time.sleep(0.01)\n"
    )
    pids = tmp_path / "pids"
    with daemon(tmp_path, toml=GOOD + program("bad", *python(code, str(pids)))) as running:
        detail = wait_until(lambda: running.wait_for("bad-1", "BACKOFF")["detail"])

        assert "exit status 0; it left 1 process(es) behind, which were killed" in detail
        assert "--foreground" in detail
        running.wait_for("good-1", "READY")
        for pid in map(int, pids.read_text().split()):
            wait_until(partial(is_gone, pid), what="the end of what it left behind")


def test_a_command_that_dies_at_once_for_ever_fails_and_is_only_probed(tmp_path: Path) -> None:
    table = program("bad", "/bin/false", restart_intensity=2, restart_delay=0.01)
    with daemon(tmp_path, toml=GOOD + table) as running:
        row = running.wait_for("bad-1", "FAILED")

        assert row["restarts"] == 2
        assert row["detail"] == "exit status 1"
        assert running.wait_for("good-1", "READY")["restarts"] == 0


def test_a_command_that_ignores_its_stop_signal_is_killed_after_its_own_time(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1); time.sleep(600)"
    )
    table = program("bad", *python(code), ready_after=0.5, stop_timeout=0.2)
    with daemon(tmp_path, toml=GOOD + table, stop_timeout=300.0) as running:
        pid = running.wait_for("bad-1", "READY")["pid"]
        running.wait_for("good-1", "READY")

        assert running.stop() == 0
        assert not procinfo.is_alive(pid)
        assert "program=bad-1 pid=" in running.log


def test_a_command_is_stopped_by_the_signal_that_it_knows(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "def leave(number, frame):\n"
        "    open(sys.argv[1], 'w').write(str(number)); sys.exit(0)\n"
        "signal.signal(signal.SIGUSR1, leave)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "open(sys.argv[1] + '.on', 'w')\n"
        "time.sleep(600)\n"
    )
    table = program("x", *python(code, str(tmp_path / "by")), stop_signal="USR1")
    with daemon(tmp_path, toml=table) as running:
        wait_until((tmp_path / "by.on").exists)

        assert running.stop() == 0

    assert (tmp_path / "by").read_text() == str(int(signal.SIGUSR1))


def test_a_command_may_report_that_it_is_ready_and_is_replaced_if_it_never_does(tmp_path: Path) -> None:
    says = 'sleep 0.1; echo \'{"type": "ready"}\' >&$TASKD_STATUS_FD; exec sleep 600'
    tables = program("good", "/bin/sh", "-c", says, ready="reported") + program(
        "bad", "/bin/sleep", "600", ready="reported", start_timeout=0.3
    )
    with daemon(tmp_path, toml=tables) as running:
        running.wait_for("good-1", "READY")
        row = wait_until(lambda: (row := running.row("bad-1"))["restarts"] and row)

        assert row["detail"] == "not ready within 0.3 s"
        assert running.row("good-1")["restarts"] == 0


@pytest.mark.parametrize(("restart", "code"), [("on-failure", 0), ("never", 3)])
def test_a_command_that_is_over_stays_down_until_an_operator_starts_it(
    tmp_path: Path, restart: str, code: int
) -> None:
    table = program("x", "/bin/sh", "-c", f"echo >> {tmp_path}/runs; exit {code}", restart=restart)
    with daemon(tmp_path, toml=GOOD + table) as running:
        running.wait_for("good-1", "READY")
        row = wait_until(lambda: (row := running.row("x-1"))["state"] == "DOWN" and row)
        assert row["wanted"] is True
        assert row["reason"] == f"ended with exit status {code}; restart = {restart}: not started again"
        assert (tmp_path / "runs").read_text() == "\n"
        ended = next(
            line for line in running.log.splitlines() if "program=x-1" in line and " ended: " in line
        )
        assert ("INFO" if code == 0 else "ERROR") in ended

        running.call("start", name="x")

        wait_until(lambda: (tmp_path / "runs").read_text() == "\n\n")


def test_a_command_that_fails_is_started_again_on_failure(tmp_path: Path) -> None:
    table = program("x", "/bin/false", restart="on-failure", restart_delay=0.01)
    with daemon(tmp_path, toml=table) as running:
        wait_until(lambda: running.wait_for("x-1", "BACKOFF")["restarts"])


def test_a_program_without_autostart_waits_for_an_operator_and_holds_nobody_up(tmp_path: Path) -> None:
    table = program("x", "/bin/sleep", "600", autostart=False, ready_after=0)
    with daemon(tmp_path, toml=GOOD + table) as running:
        running.wait_for("good-1", "READY")
        row = running.row("x-1")
        assert (row["state"], row["wanted"]) == ("DOWN", False)
        assert row["reason"] == "autostart = false: waits for taskctl start"
        assert running.call("status")["taskd"]["state"] == "READY"

        running.call("start", name="x")

        running.wait_for("x-1", "READY")
