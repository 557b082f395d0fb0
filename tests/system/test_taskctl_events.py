"""``taskctl events`` and ``taskctl control`` over a real daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from taskd.base import exit_codes
from taskd.base.ids import node_name
from tests.system.daemon import ONE_PREFORK_WORKER, Daemon

NODE = node_name("main-1")


@contextmanager
def following(daemon: Daemon, *words: str) -> Iterator[IO[str]]:
    """Run ``taskctl events`` until the end of the block; the daemon's first heartbeat has been printed."""
    command = [
        str(Path(sys.executable).with_name("taskctl")), "--config", str(daemon.file), "events", *words,
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert "worker-heartbeat" in process.stdout.readline()
            yield process.stdout
        finally:
            process.terminate()


def test_events_are_followed_as_lines_of_json(daemon: Daemon) -> None:
    with following(daemon, "--enable", "--json") as lines:
        task_id = daemon.app.send_task("shop.add", (2, 3)).id
        seen: dict[str, Any] = {}
        while "task-succeeded" not in seen:
            event = json.loads(lines.readline())
            if event.get("uuid") == task_id:
                seen[event["type"]] = event

    assert list(seen) == ["task-received", "task-started", "task-succeeded"]
    assert seen["task-succeeded"]["result"] == "5"


@pytest.mark.parametrize(("option", "told"), [("--enable", "shop.add[{}] 5 in"), ("--dump", "result='5'")])
def test_events_are_followed_as_text(daemon: Daemon, option: str, told: str) -> None:
    assert "enabled" in daemon.ctl("control", "enable-events").stdout
    with following(daemon, option) as lines:
        task_id = daemon.app.send_task("shop.add", (2, 3)).id

        line = next(line for line in lines if "task-succeeded" in line)

    assert line.startswith(f"{NODE} [")
    assert told.format(task_id) in line


def test_following_ends_after_a_count_or_a_time(daemon: Daemon) -> None:
    assert len(daemon.ctl("events", "--count", "1").stdout.splitlines()) == 1
    quiet = daemon.ctl("events", "--routing-key", "nothing.#", "--timeout", "200ms", check=False)
    assert quiet.returncode == exit_codes.UNAVAILABLE


def test_commands_are_given_and_questions_asked_from_the_command_line(daemon: Daemon) -> None:
    assert daemon.ctl("control", "add-consumer", "extra").stdout == f"{NODE}: add consumer extra\n"
    queues = json.loads(daemon.ctl("inspect", "active-queues", "--json").stdout)["nodes"][NODE]
    assert [queue["name"] for queue in queues] == ["default", "extra"]
    assert daemon.ctl("control", "heartbeat").stdout == f"{NODE}: done\n"

    task_id = daemon.app.send_task("shop.add", (1, 2), countdown=600).id
    assert "scheduled" in daemon.ctl("inspect", "query-task", task_id).stdout
    assert "clock" in daemon.ctl("inspect", "clock").stdout

    refused = daemon.ctl("control", "call", "nothing", "{}", check=False)
    assert (refused.returncode, "KeyError('nothing')" in refused.stdout) == (exit_codes.FAILURE, True)
    wrong = daemon.ctl("control", "call", "nothing", "[1]", check=False)
    assert wrong.returncode == exit_codes.USAGE
    objects = daemon.ctl("inspect", "objgraph", check=False)
    assert (objects.returncode, "tracemalloc" in objects.stderr) == (exit_codes.FAILURE, True)


def test_a_configured_worker_sends_task_events_without_being_asked(make_daemon: Any) -> None:
    daemon = make_daemon(ONE_PREFORK_WORKER + "events = true\n")
    daemon.start()
    with following(daemon, "--json") as lines:
        daemon.app.send_task("shop.add", (2, 3))
        assert any("task-succeeded" in line for line in lines)
