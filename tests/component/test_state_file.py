"""The state file: what is left to read when the daemon does not answer any more."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.supervisor.control.state_file import StateFile, state_path
from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until


def state(running: RunningSupervisor) -> dict[str, Any]:
    decoded = json.loads(Path(state_path(running.socket_path)).read_bytes())
    assert isinstance(decoded, dict)
    return decoded


def test_a_killed_daemon_leaves_its_last_state(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"mail": "good"}) as running:
        running.wait_for("mail-1", "READY")
        wait_until(lambda: state(running)["taskd"]["state"] == "READY")

        running.signal(signal.SIGKILL)
        running.wait()

    left = state(running)
    assert (left["ended"], left["taskd"]["pid"]) == (False, running.pid)
    assert left["programs"][0]["name"] == "mail-1"


def test_a_daemon_that_ends_says_so_in_the_file(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"mail": "good"}) as running:
        running.wait_for("mail-1", "READY")
        assert running.stop() == 0

    assert state(running)["ended"] is True
    assert state(running)["programs"][0]["state"] == "DOWN"


def test_the_file_is_for_those_who_may_use_the_socket(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"mail": "good"}, control={"socket_mode": "0660"}) as running:
        running.wait_for("mail-1", "READY")

        wait_until(lambda: os.path.exists(state_path(running.socket_path)))

    assert os.stat(state_path(running.socket_path)).st_mode & 0o777 == 0o640  # to connect is to write


def test_many_changes_are_one_write(tmp_path: Path) -> None:
    loop = Loop()
    states: list[int] = []

    def now() -> dict[str, object]:
        states.append(len(states))
        return {"count": len(states)}

    file = StateFile(loop, str(tmp_path / "f"), now)
    file.start()
    for _ in range(100):
        file.changed()
    loop.run_once()
    for _ in range(100):
        file.changed()
    loop.run_once(0.0)
    file.stop(Deadline.after(0.0))
    loop.close()

    assert len(states) == 2


def test_a_directory_that_is_gone_is_said_once_and_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = Loop()
    file = StateFile(loop, str(tmp_path / "gone" / "f"), dict)
    file.start()

    file.stop(Deadline.after(0.0))
    file.stop(Deadline.after(0.0))
    loop.close()

    assert [record.getMessage().startswith("the state file") for record in caplog.records] == [True]


def test_a_draft_that_somebody_replaced_by_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "f.new").symlink_to(precious)
    loop = Loop()

    file = StateFile(loop, str(tmp_path / "f"), dict)
    file.start()
    file.stop(Deadline.after(0.0))
    loop.close()

    assert precious.read_text() == "mine"


def test_a_file_of_somebody_else_at_the_path_of_the_state_is_left_alone(tmp_path: Path) -> None:
    loop = Loop()
    (tmp_path / "f").write_text("precious")

    file = StateFile(loop, str(tmp_path / "f"), dict)
    file.start()
    file.stop(Deadline.after(0.0))

    loop.close()
    assert (tmp_path / "f").read_text() == "precious"
