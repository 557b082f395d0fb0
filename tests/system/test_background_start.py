"""What a roll starts beside those that serve imports at the lowest priority, and then has its own again."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from taskd.host import priority, procinfo
from taskd.supervisor.control.client import ControlClient
from taskd.supervisor.process.background import is_capable
from tests.system.daemon import HEAD, Daemon
from tests.waiting import wait_until

USUAL = os.getpriority(os.PRIO_PROCESS, 0)
LOWEST = 19
_LIMIT = resource.getrlimit(resource.RLIMIT_NICE)[0]

pytestmark = pytest.mark.skipif(
    not priority.has_way_back(USUAL, limit=_LIMIT, capable=is_capable()),
    reason="needs CAP_SYS_NICE or a limit of nice (ulimit -e)",
)


def gated(pool: str, closed: Path, more: str = "") -> str:
    return (
        f'[worker.main]\napp = "tests.system.gated_app:app"\npool = "{pool}"\nconcurrency = 2\n'
        f'environment = {{ CLOSED = "{closed}" }}\n{more}'
    )


def roll(daemon: Daemon) -> None:
    ControlClient(str(daemon.directory / "taskd.sock")).call("roll", {"name": "main"}, timeout_s=60.0)


def nices(daemon: Daemon, name: str) -> list[int]:
    """Return the nice values of all threads of a program and of what is below it; empty while it is not."""
    rows = [row for row in daemon.rows() if row["name"] == name and row["pid"]]
    pids = [int(str(row["pid"])) for row in rows]
    found = []
    for pid in [each for top in pids for each in (top, *procinfo.descendants(top))]:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
            found += [os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in threads]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return found


def ready(daemon: Daemon, name: str) -> bool:
    return any(row["name"] == name and row["state"] == "READY" for row in daemon.rows())


def test_the_template_of_a_newcomer_imports_in_the_background_but_its_worker_does_not_wait_there(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    daemon = make_daemon(gated("prefork", closed), head=HEAD + 'canary_time = "0s"\n')
    daemon.start()
    assert set(nices(daemon, "main-1")) == {USUAL}, (
        "nobody is served yet: a cold start is not in the background"
    )
    closed.touch()
    roll(daemon)

    wait_until(lambda: sorted(nices(daemon, "main-2")) == sorted([USUAL, LOWEST]), 15, "worker and template")
    closed.unlink()

    wait_until(lambda: ready(daemon, "main-2"), 15)
    assert set(nices(daemon, "main-2")) == {USUAL}


def test_children_of_a_newcomer_that_import_for_themselves_do_so_in_the_background(
    make_daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATED_CHILDREN", "1")
    closed = tmp_path / "closed"
    daemon = make_daemon(gated("prefork", closed, "preload = false\n"), head=HEAD + 'canary_time = "0s"\n')
    daemon.start()
    assert set(nices(daemon, "main-1")) == {USUAL}
    closed.touch()
    roll(daemon)

    waiting = [USUAL, LOWEST, LOWEST, LOWEST]  # the worker, the template and two children
    wait_until(lambda: sorted(nices(daemon, "main-2")) == sorted(waiting), 15)
    closed.unlink()

    wait_until(lambda: ready(daemon, "main-2"), 15)
    wait_until(lambda: set(nices(daemon, "main-2")) == {USUAL}, 15)


def test_a_newcomer_that_imports_the_task_code_itself_does_so_in_the_background(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    daemon = make_daemon(gated("threads", closed, "nice = 3\n"), head=HEAD + 'canary_time = "0s"\n')
    daemon.start()
    closed.touch()
    roll(daemon)

    wait_until(lambda: nices(daemon, "main-2") == [LOWEST], 15)
    closed.unlink()

    wait_until(lambda: ready(daemon, "main-2"), 15)
    assert set(nices(daemon, "main-2")) == {3}, "the priority of its table"


def test_a_newcomer_does_not_starve_in_the_background(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    daemon = make_daemon(gated("threads", closed, 'start_timeout = "10s"\n'))
    daemon.start()
    closed.touch()
    roll(daemon)
    wait_until(lambda: nices(daemon, "main-2") == [LOWEST], 15)

    wait_until(lambda: nices(daemon, "main-2") == [USUAL], 15, "the end of the background")

    assert not ready(daemon, "main-2")


def test_what_replaces_a_dead_worker_is_in_a_hurry(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    daemon = make_daemon(gated("threads", closed, "processes = 2\n"), head=HEAD + 'restart_delay = "10ms"\n')
    daemon.start()
    closed.touch()
    former = daemon.pid_of("main-1")
    os.kill(former, 9)

    wait_until(lambda: daemon.row("main-1")["pid"] not in {None, former}, 15)

    wait_until(lambda: nices(daemon, "main-1") == [USUAL], 5)
