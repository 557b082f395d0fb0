"""What nobody foresaw in a callback of the supervisor's loop costs what it concerns, not the loop."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import taskd.supervisor
from taskd.base import clock
from taskd.base.errors import ControlError
from taskd.host import procinfo
from tests.component.supervised import NotifySocket, RunningSupervisor, daemon
from tests.waiting import wait_until

_CONFIG = """
app = "a:b"
[supervisor]
control_socket = "s"
state_directory = "."
canary_time = 0
restart_delay = 0.01
restart_intensity = 100
scale_down_after = 1
[log]
directory = "logs"
rate = "100 KB"
[worker.a]
processes = 2
environment = { FAKE_MODE = "good" }
[worker.scaled]
min_processes = 1
processes = 2
environment = { FAKE_MODE = "good" }
[program.hangs]
command = ["/bin/sh", "-c", "trap '' USR2; sleep 600"]
ready = "reported"
start_timeout = 0.3
[program.x]
command = ["/bin/sh", "-c", "yes | head -c 3000000; sleep 600"]
ready_after = 0
on_ready = ["/bin/true"]
on_exited = ["/bin/sleep", "600"]
hook_timeout = 0.2
"""

_WORK = ("a-1", "a-2", "scaled-1", "x-1")


def names(path: Path) -> set[str]:
    return set(path.read_text().split("\n")) - {""} if path.exists() else set()


def all_ready(running: RunningSupervisor) -> bool:
    with contextlib.suppress(ControlError):
        rows = {row["name"]: row["state"] for row in running.call("status")["programs"]}
        return all(rows.get(name) == "READY" for name in _WORK)
    return False


def ask(running: RunningSupervisor, method: str) -> None:
    with contextlib.suppress(ControlError):  # the client was closed: that was its price
        running.call(method)


def kill_writer(running: RunningSupervisor) -> None:
    for pid in procinfo.descendants(running.pid):
        with contextlib.suppress(OSError):
            if b"output.writer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def put_a_file_at(directory: Path) -> bool:
    with contextlib.suppress(OSError):  # the writer was there first, and has made it anew
        directory.rename(directory.with_name(f"former-{clock.monotonic()}"))
        directory.touch(exist_ok=False)
    return directory.is_file()


@pytest.fixture
def notify(tmp_path: Path) -> Iterator[NotifySocket]:
    made = NotifySocket(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("mode", ["before", "after"])
def test_every_callback_of_the_loop_may_raise_once_and_the_daemon_works_on(
    tmp_path: Path, notify: NotifySocket, mode: str
) -> None:
    (tmp_path / "taskd.toml").write_text(_CONFIG)
    environ = {"FAKE_FAULTS": mode, "NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "400000"}
    with daemon(tmp_path, environ, file=True) as running:

        def goes_on(what: str) -> None:
            try:
                wait_until(lambda: running.process.poll() is not None or all_ready(running), 60.0, what)
            except AssertionError as error:
                rows = running.call("status")["programs"]
                raise AssertionError(f"{error}\n{running.log}\n{rows}") from None
            assert running.process.poll() is None, running.log

        goes_on("the start")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU):
            running.signal(number)
        for name in _WORK:
            with contextlib.suppress(ControlError, ProcessLookupError, TypeError):
                os.kill(running.row(name)["pid"], signal.SIGKILL)
            goes_on(f"the end of {name}")
        for method in ("reload", "reload", "deaths", "autoscale"):
            ask(running, method)
        goes_on("the reload")
        wait_until(
            lambda: put_a_file_at(tmp_path / "logs"), 10.0, "the writer of log files has something to say"
        )
        running.signal(signal.SIGUSR1)

        def missing() -> set[str]:
            return names(tmp_path / "registered") - names(tmp_path / "raised")

        def all_raised() -> bool:
            with socket.socket(socket.AF_UNIX) as idle:
                idle.connect(running.socket_path)
                ask(running, "status")
                kill_writer(running)
                idle.settimeout(0.3)
                with contextlib.suppress(OSError):
                    idle.recv(1)
            return not missing()

        try:
            wait_until(all_raised, 60.0, "each registered callback has raised")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{missing()}") from None
        registered = names(tmp_path / "registered")
        goes_on("all that")
        assert len(registered) > 20
        raised = names(tmp_path / "raised")
        assert all(f"unforeseen error in {name}" in running.log for name in raised), running.log

        assert running.stop() == 0, running.log
        assert "could not be ended after that" not in running.log
        wait_until(lambda: not running.left_behind())


_REGISTERING = {"add_reader", "add_writer", "call_at", "call_later", "call_soon", "watch_signals", "attempt"}
_WITH_OWNER = {"call_soon": 2, "watch_signals": 3}


def test_whoever_registers_a_callback_in_this_room_names_its_owner() -> None:
    room = Path(taskd.supervisor.__file__).parent
    nameless = [
        f"{path.relative_to(room)}:{call.lineno}"
        for path in sorted(room.rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in _REGISTERING
        and len(call.args) + len(call.keywords)
        < _WITH_OWNER.get(call.func.attr, 3 - (call.func.attr == "attempt"))
    ]
    assert nameless == []
