"""What is left of a real worker that dies or hangs: its tasks, its stacks, its output."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

from tests.system.daemon import HEAD, Daemon
from tests.waiting import wait_until

_HANGING_APP = """
import time
from taskd import App

def wait_for_ever():
    time.sleep(1000)

wait_for_ever()
app = App()
"""


def deaths(daemon: Daemon) -> list[dict[str, Any]]:
    done = daemon.ctl("deaths", "--json", check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout)["deaths"] if done.returncode == 0 else []
    return found


def test_the_certificate_of_a_killed_worker_names_the_tasks_that_ran(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon()
    daemon.start()
    sent = daemon.app.send_task(
        "shop.hold", args=(str(daemon.directory / "x"), str(daemon.directory / "gate"))
    )
    wait_until(lambda: daemon.row("main-1")["busy"], 10.0)

    os.kill(daemon.pid_of("main-1"), signal.SIGKILL)
    died = wait_until(lambda: deaths(daemon), 10.0)[0]

    assert (died["program"], died["signal"]) == ("main-1", signal.SIGKILL)
    assert [(task["id"], task["name"]) for task in died["running"]] == [(sent.id, "shop.hold")]


def test_a_worker_whose_code_hangs_at_its_import_shows_where(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(
        '[worker.main]\npool = "threads"\napp = "hanging:app"\n'
        'environment = { PYTHONPATH = "." }\ndirectory = "."\n',
        head=HEAD + 'start_timeout = "2s"\n',
    )
    (daemon.directory / "hanging.py").write_text(_HANGING_APP)
    daemon.spawn()

    # On a busy machine the first attempts may not have come as far as the code.
    died = wait_until(
        lambda: next((died for died in deaths(daemon) if "in wait_for_ever" in died.get("stack", "")), None),
        30.0,
    )

    assert died["hang"] == "not ready within 2 s"
