"""Celery's own programs and Flower, unmodified, against our workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest

from taskd.base.ids import node_name
from taskd.config.load import load
from tests.services import free_port
from tests.system.daemon import ONE_PREFORK_WORKER, ROOT, Daemon
from tests.waiting import seen_within, wait_until

NODE = node_name("main-1")


@pytest.fixture
def daemon(daemon_over: Callable[[str], Daemon]) -> Daemon:
    return daemon_over(ONE_PREFORK_WORKER)


def command(daemon: Daemon, *words: str) -> tuple[list[str], dict[str, str]]:
    """Return how to start one of Celery's programs, and its environment."""
    environment = {
        **os.environ,
        "TEST_BROKER": load(str(daemon.file)).broker,
        "FLOWER_UNAUTHENTICATED_API": "1",
    }
    return [sys.executable, "-m", "celery", "-A", "tests.system.celery_tools", *words], environment


def celery(daemon: Daemon, *words: str) -> Any:
    """Run a program of Celery's to its end and return the JSON that it prints."""
    arguments, environment = command(daemon, *words, "--json", "--timeout", "5")
    done = subprocess.run(
        arguments, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@contextmanager
def running(daemon: Daemon, *words: str) -> Iterator[IO[str]]:
    """Run a program of Celery's until the end of the block; gives what it prints."""
    arguments, environment = command(daemon, *words)
    with subprocess.Popen(
        arguments, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()


def test_celery_inspect_and_control_print_our_answers(daemon: Daemon) -> None:
    assert celery(daemon, "inspect", "ping", "-d", NODE) == {NODE: {"ok": "pong"}}
    assert "shop.add" in celery(daemon, "inspect", "registered", "-d", NODE)[NODE]
    said = celery(daemon, "control", "rate_limit", "shop.add", "10/m", "-d", NODE)
    assert said == [{NODE: {"ok": "new rate limit set successfully"}}]


def test_celery_events_dumps_our_events(daemon: Daemon) -> None:
    daemon.ctl("control", "enable-events")
    with running(daemon, "events", "--dump") as lines:
        assert any("worker1" in line or NODE in line for line in lines)
        task_id = daemon.app.send_task("shop.add", (2, 3)).id

        told = next(line for line in lines if "task succeeded" in line.lower() or "task-succeeded" in line)

    assert "shop.add" in told
    assert task_id in told


def test_flower_shows_workers_and_tasks_and_steers_the_pool(daemon: Daemon) -> None:
    port = free_port()

    def ask(path: str, data: bytes | None = None) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=60) as reply:
                return json.load(reply)
        except OSError:
            return None

    def whole() -> Any:
        seen = (ask("/api/workers?refresh=1") or {}).get(NODE, {})
        return seen if {"stats", "active_queues", "registered"} <= seen.keys() else None

    with running(daemon, "flower", f"--port={port}", "--address=127.0.0.1"):
        # Each refresh asks the worker several questions, and shows what was answered within a second.
        worker = wait_until(whole, 40, "Flower sees the worker")
        assert worker["stats"]["pool"]["max-concurrency"] == 2
        assert [queue["name"] for queue in worker["active_queues"]] == ["default"]
        assert "shop.add" in worker["registered"]

        task_id = ""

        def shown() -> Any:
            nonlocal task_id
            task_id = daemon.app.send_task("shop.add", (2, 3)).id
            wait_until(lambda: daemon.app.result(task_id).ready(), 10)
            return seen_within(lambda: ended((ask("/api/tasks") or {}).get(task_id)), 3)

        def ended(task: Any) -> Any:
            return task if task and task["state"] == "SUCCESS" else None

        # Flower enables task events by itself, some seconds after its start.
        task = wait_until(shown, 40, "Flower shows a task")
        assert (task["name"], task["result"], task["worker"]) == ("shop.add", "5", NODE)

        assert ask(f"/api/worker/pool/grow/{NODE}?n=1", b"") is not None
        wait_until(lambda: len(daemon.pids()) >= 6, 10, "a third child")
