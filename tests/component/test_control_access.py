"""Who may do what over the control socket, and the record of it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from taskd.base.errors import ControlError
from taskd.supervisor.control.client import ControlClient
from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users, which needs root")

VIEWER, OPERATOR, ADMIN, STRANGER = 41001, 41002, 41003, 41004
GROUP = 42001

_CALL = """
import json, os, sys
from taskd.base.errors import ControlError
from taskd.supervisor.control.client import ControlClient
path, method, params, uid, groups = sys.argv[1:]
os.setgroups(json.loads(groups)); os.setgid(int(uid)); os.setuid(int(uid))
try:
    ControlClient(path).call(method, json.loads(params), timeout_s=60.0)
    print("ok")
except ControlError as error:
    print(error)
"""


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Where others get to the socket; pytest's own directory is closed at each start of another pytest."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def running(open_place: Path) -> Iterator[RunningSupervisor]:
    control = {
        "viewers": [str(VIEWER)],
        "operators": [str(OPERATOR), f"@{GROUP}", "no-such-user"],
        "admins": [str(ADMIN)],
        "socket_mode": "0666",
    }
    with daemon(open_place, modes={"mail": "good"}, control=control) as running:
        running.wait_for("mail-1", "READY")
        yield running


def call(running: RunningSupervisor, uid: int, method: str, params: str = "{}", groups: str = "[]") -> str:
    done = subprocess.run(
        [sys.executable, "-c", _CALL, running.socket_path, method, params, str(uid), groups],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_each_role_may_do_its_part_and_a_refusal_names_the_remedy(running: RunningSupervisor) -> None:
    restart = ("restart", '{"name": "mail-1"}')

    assert call(running, VIEWER, "status") == "ok"
    assert call(running, VIEWER, *restart) == (
        f"restart needs the role operator, and uid {VIEWER} is viewer: put the user into "
        "[control] operators, and reload taskd, or call it as root"
    )
    assert call(running, OPERATOR, *restart) == "ok"
    assert "shutdown needs the role admin" in call(running, OPERATOR, "shutdown")
    assert call(running, STRANGER, "status") == (
        f"uid {STRANGER} has no role here: put the user or one of its groups into [control] viewers, "
        "operators or admins, and reload taskd, or call it as root"
    )
    assert call(running, STRANGER, *restart, groups=f"[{GROUP}]") == "ok"
    assert call(running, ADMIN, "shutdown") == "ok"
    assert running.wait() == 0


def test_who_changed_what_stands_in_the_log(running: RunningSupervisor) -> None:
    assert call(running, OPERATOR, "stop", '{"name": "mail-1"}') == "ok"
    assert "needs the role operator" in call(running, VIEWER, "stop", '{"name": "mail-1"}')
    assert "there is no program" in call(running, OPERATOR, "stop", '{"name": "nobody"}')

    def noted() -> list[str]:
        return [line for line in running.log.splitlines() if "verb=stop" in line]

    wait_until(lambda: len(noted()) == 3)  # the answer may overtake the line
    lines = noted()
    fields = [re.sub(r"pid=\d+", "pid=N", line.partition("audit ")[2]) for line in lines]
    stop_mail = 'verb=stop params={"name":"mail-1"}'
    stop_nobody = 'verb=stop params={"name":"nobody"}'
    unknown = "failed: there is no program 'nobody'; there are: mail-1"
    assert fields == [
        f"user=? uid={OPERATOR} gid={OPERATOR} pid=N {stop_mail} outcome='ok'",
        f"user=? uid={VIEWER} gid={VIEWER} pid=N {stop_mail} outcome='refused: no permission'",
        f"user=? uid={OPERATOR} gid={OPERATOR} pid=N {stop_nobody} outcome={unknown!r}",
    ]
    assert "INFO" in lines[0]
    assert "WARNING" in lines[1]


_HOLD = """
import os, socket, sys
path, uid = sys.argv[1:]
os.setgroups([]); os.setgid(int(uid)); os.setuid(int(uid))
held = []
for _ in range(60):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].connect(path)
print("held", flush=True)
sys.stdin.read()
"""


def test_whoever_holds_as_many_connections_as_it_can_leaves_others_theirs(running: RunningSupervisor) -> None:
    with contextlib.ExitStack() as stack:
        for uid in (STRANGER, VIEWER, OPERATOR):
            holder = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _HOLD, running.socket_path, str(uid)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            stack.callback(holder.kill)
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
        assert "of this user are connected already" in call(running, VIEWER, "status")
        assert "the other places are kept for root" in call(running, ADMIN, "status")
        assert running.row("mail-1")["state"] == "READY"
        assert running.log.count(f"uid={STRANGER}") < 10


def test_a_name_that_the_machine_does_not_know_is_a_warning_and_gives_nobody_a_role(
    running: RunningSupervisor,
) -> None:
    assert "control.operators: there is no user 'no-such-user' on this machine" in running.log


def test_the_socket_belongs_to_the_named_group(tmp_path: Path) -> None:
    control = {"socket_mode": "0660", "socket_group": str(GROUP)}
    with daemon(tmp_path, modes={"mail": "good"}, control=control) as running:
        running.wait_for("mail-1", "READY")

        status = os.stat(running.socket_path)

    assert (status.st_mode & 0o777, status.st_gid) == (0o660, GROUP)


def test_a_group_that_does_not_exist_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={}, control={"socket_group": "no-such-group"}) as running:
        assert running.wait() != 0

        assert "there is no group 'no-such-group' on this machine" in running.log
        assert "control.socket_group" in running.log
        assert not os.path.exists(running.socket_path + ".state")


def test_a_socket_without_permission_says_who_may(running: RunningSupervisor) -> None:
    os.chmod(running.socket_path, 0o600)

    assert call(running, VIEWER, "status").startswith(
        f"no permission for the control socket {running.socket_path}"
    )


def test_signals_reach_a_program(running: RunningSupervisor) -> None:
    pid = running.row("mail-1")["pid"]

    running.call("signal", name="mail-1", signal="kill")

    wait_until(lambda: running.row("mail-1")["pid"] not in {pid, None})
    with pytest.raises(ControlError, match="there is no signal 'BOOM'"):
        running.call("signal", name="mail-1", signal="BOOM")


def test_a_repeated_shutdown_is_no_more_hasty_than_the_first(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"deaf": "ignores-term"}, stop_timeout=300) as running:
        running.wait_for("deaf-1", "READY")
        for _ in range(3):
            running.call("shutdown")
        running.wait_for("deaf-1", "DRAINING")

        with ControlClient(running.socket_path) as client:
            client.call("shutdown", {"cold": True})

        assert running.wait(60) == 0
