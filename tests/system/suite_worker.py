"""A plug-in of pytest in the process of Celery's own integration suite: its worker runs in another process.

SUITE_WORKER names the worker: ``celery`` or ``taskd``; the outcomes are written to SUITE_DIRECTORY.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import celery.app.control
import celery.contrib.pytest
import pytest
from celery import Celery
from celery.app.control import Inspect
from celery.utils.nodenames import anon_nodename

from tests.system.daemon import Daemon
from tests.waiting import wait_until

DIRECTORY = Path(os.environ["SUITE_DIRECTORY"])
#: A test of the suite that hangs costs this long.
TEST_TIMEOUT_S = 60
#: Claims as many ahead as Celery does: RabbitMQ drops what expires in its queues without a word to anybody.
FILE = """
app = "tests.system.suite_app:app"
broker = "{broker}"
results = "{results}"
[supervisor]
control_socket = "taskd.sock"
state_directory = "."
[worker.main]
node = "{node}"
queues = ["celery"]
pool = "prefork"
concurrency = 1
prefetch = 4
"""


@contextmanager
def taskd() -> Iterator[None]:
    """Run taskd's daemon; its worker has the name that the suite's tests expect: that of this process."""
    names = {"broker": os.environ["TEST_BROKER"], "results": os.environ["TEST_BACKEND"]}
    daemon = Daemon(DIRECTORY, "", FILE.format(node=anon_nodename(), **names))
    daemon.start()
    try:
        yield
    finally:
        daemon.end()


@contextmanager
def stock() -> Iterator[None]:
    """Run Celery's own worker under that name."""
    program = str(Path(sys.executable).with_name("celery"))
    options = ["-n", anon_nodename(), "-P", "prefork", "-c", "1", "-l", "INFO"]
    with (DIRECTORY / "celery.log").open("ab") as log:
        process = subprocess.Popen(
            [program, "-A", "tests.system.suite_app", "worker", *options],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


WORKERS = {"celery": stock, "taskd": taskd}


@pytest.fixture(scope="session")
def celery_session_worker(celery_session_app: Celery, celery_class_tasks: list[type]) -> Iterator[None]:
    """Stand in for the fixture that starts a worker in a thread of this process."""
    celery_session_app.loader.import_task_module("t.integration.tasks")
    for each in celery_class_tasks:
        celery_session_app.register_task(each)
    with WORKERS[os.environ["SUITE_WORKER"]]():
        control = celery_session_app.control
        wait_until(lambda: control.ping(timeout=0.5), what="an answer of the suite's worker")
        yield


# The suite's conftest takes the fixture from there.
celery.contrib.pytest.celery_session_worker = celery_session_worker


class _OfOneWorker(Inspect):  # type: ignore[misc]
    """Asks as the suite does, but waits no longer once the one worker has answered."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"limit": 1, **kwargs})


celery.app.control.Inspect = _OfOneWorker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound each test; the suite's own bounds are those of a quiet night."""
    for item in items:
        item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S), append=False)


_outcomes: dict[str, str] = {}
_reasons: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the worst of what each test's parts have come to."""
    outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
    known = _outcomes.get(report.nodeid, "passed")
    if known != "failed" and (outcome != "passed" or report.when == "call"):
        _outcomes[report.nodeid] = outcome
    if outcome == "failed":
        _reasons[report.nodeid] = report.longreprtext[-4000:]


def pytest_sessionfinish() -> None:
    """Write what became of each test."""
    (DIRECTORY / "outcomes.json").write_text(json.dumps({"outcomes": _outcomes, "reasons": _reasons}))
