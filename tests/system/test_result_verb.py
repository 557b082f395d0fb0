"""``taskctl result`` of tasks that have not ended: it says where they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from taskd.base import exit_codes
from taskd.sending.result import AsyncResult
from tests.system.daemon import Daemon
from tests.waiting import wait_until

ONE_CHILD = '[worker.main]\npool = "{}"\nconcurrency = 1\nprefetch = 2\n'


def hold(daemon: Daemon, tmp_path: Path) -> tuple[AsyncResult[object], Path]:
    """Start a task that runs until its gate opens."""
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    result = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(runs.exists, 20)
    return result, gate


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_that_runs_is_said_to_run(
    make_daemon: Callable[..., Daemon], tmp_path: Path, pool: str
) -> None:
    daemon = make_daemon(ONE_CHILD.format(pool))
    daemon.start()
    result, gate = hold(daemon, tmp_path)

    said = daemon.ctl("result", result.id, check=False)
    told = json.loads(daemon.ctl("result", result.id, "--json", check=False).stdout)

    assert said.returncode == exit_codes.TEMPFAIL
    assert f"task {result.id} has not ended; it runs in main-1" in said.stderr
    assert " so far" in said.stderr
    assert "PENDING" not in said.stderr
    assert told["state"] == "STARTED"
    assert told["where"].startswith("it runs in main-1")
    gate.touch()
    result.get(timeout=60)
    assert daemon.ctl("result", result.id).returncode == exit_codes.OK


def test_a_task_that_is_claimed_or_not_due_is_said_to_be_with_its_worker(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(ONE_CHILD.format("prefork"))
    daemon.start()
    held, gate = hold(daemon, tmp_path)
    claimed = daemon.app.send_task("shop.add", (1, 2))
    delayed = daemon.app.send_task("shop.add", (1, 2), countdown=3600)

    def said(result: AsyncResult[object]) -> str:
        return daemon.ctl("result", result.id, check=False).stderr

    wait_until(lambda: "has claimed it and has not begun it" in said(claimed), 20)
    assert "it is PENDING: it is not due yet; main-1@" in said(delayed)
    assert "nothing has begun it, or there is no such task" in daemon.ctl("result", "x", check=False).stderr
    gate.touch()
    held.get(timeout=60)


def test_a_task_is_sent_to_its_own_queue(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon('[worker.main]\nqueues = ["default", "mail"]\n')
    daemon.start()

    sent = daemon.ctl("send", "shop.mailed", "--wait", "1m")

    assert sent.stdout.strip() == "mail"


def test_a_send_that_waits_in_vain_says_where_its_task_runs(daemon: Daemon, tmp_path: Path) -> None:
    runs, gate = str(tmp_path / "runs"), tmp_path / "gate"

    said = daemon.ctl("send", "shop.hold", json.dumps([runs, str(gate)]), "--wait", "2s", check=False)

    assert said.returncode == exit_codes.TEMPFAIL
    assert "has not ended; it runs in main-1" in said.stderr
    gate.touch()
