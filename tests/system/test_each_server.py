"""The daemon on each server: it runs what our clients send, Celery's see it, and crashes lose nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.celery_client import client_over
from tests.system.daemon import ONE_WORKER_FOR_CELERY, Daemon, head_over
from tests.system.notes import lines
from tests.system.shared_brokers import BROKERS
from tests.waiting import wait_until


@pytest.fixture(params=["redis", "rabbitmq"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place of its own on the server."""
    return BROKERS[request.param](tmp_path)


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon], url: str) -> Daemon:
    daemon = make_daemon(ONE_WORKER_FOR_CELERY, head=head_over(url))
    daemon.start()
    return daemon


@pytest.fixture
def celery(url: str) -> Iterator[Any]:
    with client_over(url) as client:
        yield client


def test_a_task_of_our_client_runs_and_answers(daemon: Daemon) -> None:
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_celery_inspects_our_worker(daemon: Daemon, celery: Any) -> None:
    (answer,) = celery.control.ping(timeout=60, limit=1)
    assert list(answer.values()) == [{"ok": "pong"}]
    (registered,) = celery.control.inspect(timeout=60, limit=1).registered().values()
    assert "shop.add" in registered


@pytest.mark.parametrize("url", ["redis", pytest.param("rabbitmq", marks=pytest.mark.slow)], indirect=True)
def test_a_killed_child_and_a_killed_worker_lose_nothing(daemon: Daemon, tmp_path: Path) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    held = [daemon.app.send_task("shop.hold", (str(runs), str(gate))) for _ in range(4)]
    wait_until(lambda: len(lines(runs)) == 2, 10)

    os.kill(int(lines(runs)[0]), signal.SIGKILL)
    wait_until(lambda: len(lines(runs)) == 3, 10)
    os.kill(daemon.pid_of("main-1"), signal.SIGKILL)
    wait_until(lambda: len(lines(runs)) == 5, 20)
    gate.touch()

    assert [each.get(timeout=60) for each in held] == ["held"] * 4
