"""Logging of a Celery app's worker: receivers of the app have their say; else the form of taskd stays."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, signals
from celery.app.log import Logging

from taskd.execution.celery.log_signals import announce_logging

AFTER = ("after_setup_logger", "after_setup_task_logger")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Connect receivers by the names of their signals, until the end of the test."""
    monkeypatch.setattr(Logging, "_setup", False)
    connected: list[tuple[Any, Any]] = []

    def connect_one(name: str, receiver: Callable[..., None]) -> None:
        signal = getattr(signals, name)
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect_one
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def app() -> Any:
    return Celery("logging", broker="memory://", set_as_current=False)


def noting(heard: dict[str, Any], name: str) -> Callable[..., None]:
    def receiver(sender: object = None, signal: object = None, **facts: object) -> None:
        heard[name] = facts

    return receiver


def test_without_a_set_up_of_the_app_receivers_may_add_to_what_stands(
    app: Any, connect: Callable[..., None]
) -> None:
    heard: dict[str, Any] = {}
    for name in AFTER:
        connect(name, noting(heard, name))
    before = list(logging.getLogger().handlers)

    announce_logging(app)

    assert heard["after_setup_logger"]["logger"] is logging.getLogger()
    assert heard["after_setup_task_logger"]["logger"].name == "celery.task"
    assert heard["after_setup_logger"]["format"] == app.conf.worker_log_format
    assert heard["after_setup_task_logger"]["format"] == app.conf.worker_task_log_format
    assert logging.getLogger().handlers == before
    assert app.log.already_setup, "or Celery would set up handlers of its own at the next chance"


def test_an_app_that_sets_up_logging_is_left_alone(app: Any, connect: Callable[..., None]) -> None:
    heard: dict[str, Any] = {}
    for name in ("setup_logging", *AFTER):
        connect(name, noting(heard, name))

    announce_logging(app)

    assert list(heard) == ["setup_logging"]
    assert heard["setup_logging"]["loglevel"] == logging.getLogger().level


def test_a_set_up_that_fails_is_an_error_at_the_start(app: Any, connect: Callable[..., None]) -> None:
    def fail(**_facts: object) -> None:
        raise ValueError("no such handler")

    connect("setup_logging", fail)

    with pytest.raises(ValueError, match="no such handler"):
        announce_logging(app)


#: An app whose module sets up logging for itself; what its tasks log after the start of a worker.
TOUCHED = """
import logging, sys
from celery import Celery
from taskd.base import log
from taskd.execution.celery.worker_start import WorkerStandIn, start_worker
log.setup("info", "plain", program="mail-1")
app = Celery("touched", broker="memory://")
app.conf.worker_hijack_root_logger = sys.argv[2] == "hijack"
root = logging.getLogger()
root.setLevel("DEBUG")
root.addHandler(logging.FileHandler(sys.argv[1]))
root.addHandler(logging.StreamHandler())
start_worker(app, WorkerStandIn(app, "mail-1", "prefork"))
logging.getLogger("touched").info("told")
logging.getLogger("touched").debug("detail")
"""


@pytest.mark.parametrize(
    ("choice", "written"),
    [("hijack", ["mail-1: told"]), ("leave", ["mail-1: told", "told", "mail-1: detail", "detail"])],
)
def test_an_app_that_changed_the_root_gets_its_records_once_from_the_level_of_the_file(
    choice: str, written: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "own.log"
    done = subprocess.run(
        [sys.executable, "-c", TOUCHED, str(file), choice],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    lines = [line for line in done.stderr.splitlines() if "told" in line or "detail" in line]
    assert [line[line.find("mail-1") :] if "mail-1" in line else line for line in lines] == written
    assert choice == "leave" or len(done.stderr.splitlines()) == 1, "nor does Celery tell of its tasks"
    assert "told\n" in file.read_text(), "a handler that goes elsewhere stays"
