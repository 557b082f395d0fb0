"""Rate limits of a real worker: decided before dispatch, so that a limited task holds no slot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from taskd.base import clock
from taskd.base.ids import node_name
from tests.system.daemon import HEAD, Daemon
from tests.system.notes import lines
from tests.waiting import wait_until

NODE = node_name("main-1")
ONE_SLOT = """
[worker.main]
queues = ["default"]
pool = "threads"
concurrency = 1
"""


def inspect(daemon: Daemon, method: str) -> list[object]:
    return list(json.loads(daemon.ctl("inspect", method, "--json").stdout)["nodes"][NODE])


def start_limited(daemon: Daemon, rate: str) -> None:
    """Start a daemon and limit how often it runs ``shop.note``."""
    daemon.start()
    daemon.ctl("rate-limit", "shop.note", rate)


def send_notes(daemon: Daemon, notes: Path, count: int) -> list[str]:
    """Send tasks that note their numbers; return their ids."""
    return [daemon.app.send_task("shop.note", (str(notes), str(number))).id for number in range(count)]


def test_limited_tasks_wait_in_the_broker_and_others_pass_them(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon, notes = make_daemon(ONE_SLOT), tmp_path / "notes"
    start_limited(daemon, "1/h")
    send_notes(daemon, notes, 20)

    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    wait_until(lambda: len(inspect(daemon, "scheduled")) == 19, 10)
    assert lines(notes) == ["0"]
    assert inspect(daemon, "reserved") == []
    assert inspect(daemon, "active") == []


def test_a_limit_that_is_lifted_brings_back_what_waits_for_it(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon, notes = make_daemon(ONE_SLOT), tmp_path / "notes"
    start_limited(daemon, "1/h")
    send_notes(daemon, notes, 20)
    daemon.app.send_task("shop.note", (str(notes), "later"), countdown=60)
    wait_until(lambda: len(inspect(daemon, "scheduled")) == 20, 10)

    daemon.ctl("rate-limit", "shop.note", "0")

    wait_until(lambda: len(lines(notes)) == 20, 10)
    assert "later" not in lines(notes)
    assert len(inspect(daemon, "scheduled")) == 1


def test_limited_tasks_run_in_order_at_their_rate(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon, notes = make_daemon(ONE_SLOT), tmp_path / "notes"
    start_limited(daemon, "20/s")
    began = clock.monotonic()
    send_notes(daemon, notes, 30)
    wait_until(lambda: len(lines(notes)) == 30, 20)

    # 29 intervals of 50 ms, but for the one that may be forgiven.
    assert clock.monotonic() - began >= 28 * 0.05
    assert lines(notes) == [str(number) for number in range(30)]


def test_a_limited_task_that_is_revoked_never_runs(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon, notes = make_daemon(ONE_SLOT), tmp_path / "notes"
    start_limited(daemon, "1/h")
    sent = send_notes(daemon, notes, 3)
    wait_until(lambda: len(inspect(daemon, "scheduled")) == 2, 10)

    daemon.ctl("revoke", sent[1])
    daemon.ctl("rate-limit", "shop.note", "0")

    wait_until(lambda: len(lines(notes)) == 2, 10)
    assert inspect(daemon, "scheduled") == []
    assert lines(notes) == ["0", "2"]


def test_registered_shows_the_limit_and_zero_lifts_it(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(ONE_SLOT)
    daemon.start()

    daemon.ctl("rate-limit", "shop.add", "10/m")
    assert "shop.add [rate_limit=10/m]" in inspect(daemon, "registered")

    daemon.ctl("rate-limit", "shop.add", "0")
    assert "shop.add" in inspect(daemon, "registered")


def test_an_unknown_task_and_a_wrong_rate_are_refused(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(ONE_SLOT)
    daemon.start()

    unknown = daemon.ctl("rate-limit", "shop.nothing", "10/m", check=False)
    assert (unknown.returncode, unknown.stdout.strip()) == (1, f"{NODE}: unknown task")
    assert daemon.ctl("rate-limit", "shop.add", "often", check=False).returncode == 64


def test_the_tasks_own_option_limits_it(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon, notes = make_daemon(ONE_SLOT + 'app = "tests.system.limited:app"\n'), tmp_path / "notes"
    daemon.start()
    for number in range(3):
        daemon.app.send_task("limited.note", (str(notes), str(number)))

    wait_until(lambda: len(inspect(daemon, "scheduled")) == 2, 10)
    assert lines(notes) == ["0"]
    assert inspect(daemon, "registered") == ["limited.note [rate_limit=1/h]"]


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_limit_of_the_file_is_changed_while_the_worker_goes_on(
    make_daemon: Callable[..., Daemon], tmp_path: Path, pool: str
) -> None:
    worker = ONE_SLOT.replace("threads", pool)
    limited = worker + 'rate_limits = { "shop.note" = "1/h", "shop.nota" = "1/h" }\n'
    daemon, notes = make_daemon(limited), tmp_path / "notes"
    daemon.start()
    pid = daemon.pid_of("main-1")
    for number in range(20):
        daemon.app.send_task("shop.note", (str(notes), str(number)))
    wait_until(lambda: len(inspect(daemon, "scheduled")) == 19, 10)
    assert 'no task "shop.nota", did you mean "shop.note"?' in daemon.log.read_text()

    daemon.file.write_text(HEAD + worker + 'rate_limits.shop.note = "100/s"\n')
    plan = json.loads(daemon.ctl("plan", "--json").stdout)["programs"]
    daemon.ctl("reload", "--wait")

    wait_until(lambda: len(lines(notes)) == 20, 10)
    assert [each["action"] for each in plan] == ["live"]
    assert daemon.pid_of("main-1") == pid
