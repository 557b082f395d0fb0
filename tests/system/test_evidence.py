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


def test_a_pool_child_that_dies_is_certified_with_its_task_and_what_became_of_it(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon()
    daemon.start()

    task_id = daemon.app.send_task("shop.segfault", (str(daemon.directory / "runs"),)).id
    wait_until(lambda: [each for each in deaths(daemon) if each.get("count", 1) == 3], 20.0)

    (died,) = deaths(daemon)  # three alike are one, with the evidence of the last
    assert (died["program"], died["kind"], died["signal"]) == ("main-1", "child", signal.SIGSEGV)
    assert [(task["id"], task["name"]) for task in died["running"]] == [(task_id, "shop.segfault")]
    assert died["decision"].startswith("shop.segfault dead-lettered: its pool child died 3 times")
    assert "Segmentation fault" in died["traceback"]
    assert died["max_rss_bytes"] > 1_000_000
    assert "main-1 child" in daemon.ctl("deaths").stdout
    assert daemon.row("main-1")["restarts"] == 0


def test_an_idle_child_that_is_killed_and_a_hard_limit_are_certified_too(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon()
    daemon.start()

    victim = wait_until(lambda: children(daemon), 20.0)[0]["pid"]
    os.kill(victim, signal.SIGKILL)
    daemon.app.send_task("shop.stubborn")
    found = {died["cause"]: died for died in wait_until(lambda: deaths(daemon)[1:] and deaths(daemon), 20.0)}

    assert found["signal 9 (SIGKILL)"]["pid"] == victim
    assert found["signal 9 (SIGKILL)"]["decision"] == "it ran nothing; replaced in the pool"
    limited = found["its task's time limit of 0.3 s"]
    assert limited["decision"] == "shop.stubborn failed by its time limit; replaced in the pool"


def children(daemon: Daemon) -> list[dict[str, Any]]:
    answer = json.loads(daemon.ctl("status", "--children", "--json").stdout)
    found: list[dict[str, Any]] = answer["children"]
    return found


def test_status_shows_what_each_pool_child_does(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.start()
    wait_until(lambda: [child["state"] for child in children(daemon)] == ["idle", "idle"], 20.0)
    sent = daemon.app.send_task(
        "shop.hold", args=(str(daemon.directory / "x"), str(daemon.directory / "gate"))
    )
    wait_until(lambda: daemon.row("main-1")["busy"], 10.0)

    found = wait_until(lambda: [each for each in children(daemon) if each["state"] == "running"], 5.0)

    assert [(child["id"], child["name"]) for child in found] == [(sent.id, "shop.hold")]
    assert len({child["pid"] for child in children(daemon)}) == 2
    assert "shop.hold" in daemon.ctl("status", "--children").stdout


def test_a_worker_without_pool_processes_is_its_only_child(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon('[worker.main]\npool = "threads"\nconcurrency = 4\n')
    daemon.start()

    (child,) = wait_until(lambda: children(daemon), 5.0)

    assert (child["pid"], child["state"]) == (daemon.pid_of("main-1"), "idle")
