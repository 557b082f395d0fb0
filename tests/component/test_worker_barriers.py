"""Every callback of a worker's loop raises once what nobody foresaw, and the worker does its work."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd import App, TaskdError
from taskd.brokers import factory
from taskd.config.stores import Stores
from taskd.control.client import RemoteControl
from tests.waiting import wait_until

POOLS = ["prefork", "threads", "solo", "asyncio", "gevent", "eventlet"]

#: The one answer that a fault costs does not come.
LOOK_S = 2.0


class Faulty:
    """A worker with faults, and a client of it."""

    def __init__(self, directory: Path, pool: str, when: str) -> None:
        self.broker = f"sqlite:///{directory}/broker.db"
        results = f"sqlite:///{directory}/results.db"
        self.app = App(broker=self.broker, results=results)
        self.client = factory.connect(self.broker, Stores())
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.component.faulty_worker", pool, self.broker, results],
                env={**os.environ, "TASKD_FAULTS": when},
                stderr=log,
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def raised(self) -> set[str]:
        return set(re.findall("raises once: (.*)", self.text()))

    def ping(self) -> object:
        with RemoteControl(self.broker, Stores()) as control:
            return control.inspect("ping", timeout_s=LOOK_S, limit=1)

    def close(self) -> None:
        self.app.close()
        self.client.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def faulty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Faulty]:
    worker = Faulty(tmp_path, *request.param)
    yield worker
    worker.close()


def variants() -> list[object]:
    """Return all pools with both kinds of faults; what shows most is in the fast tier."""
    fast = {("prefork", "before"), ("threads", "after")}
    return [
        pytest.param(
            (pool, when), id=f"{pool}-{when}", marks=() if (pool, when) in fast else pytest.mark.slow
        )
        for pool in POOLS
        for when in ("before", "after")
    ]


@pytest.mark.parametrize("faulty", variants(), indirect=True)
def test_a_worker_outlives_one_failure_of_each_callback(faulty: Faulty) -> None:
    app, prefork = faulty.app, "prefork" in str(faulty.process.args)
    listener = faulty.client.event_box("listener")
    sent = [app.send_task("note", [str(number)]) for number in range(30)]
    sent += [app.send_task("limited", [str(number)]) for number in range(4)]
    sent += [app.send_task("note", ["later"], countdown=0.3)]
    ends = [app.send_task("late")] if prefork else []
    ends += [app.send_task("die")] if prefork else []

    assert [result.get(timeout=60) for result in sent] == [*map(str, range(30)), *map(str, range(4)), "later"]
    for result in ends:
        with pytest.raises(TaskdError, match=r"TimeLimit|exited prematurely|limit"):
            result.get(timeout=60)
    wait_until(faulty.ping, 20, "an answer of remote control")
    wait_until(listener.receive, 20, "an event")
    assert app.send_task("note", ["the last"]).get(timeout=60) == "the last"

    faulty.process.send_signal(signal.SIGTERM)
    assert faulty.process.wait(60) == 0, faulty.text()
    raised = faulty.raised()
    told = set(re.findall("unforeseen error in (.*), which costs", faulty.text()))
    assert raised == told
    assert {"Intaking._on_wakeup", "Intaking._look_anyway", "SignalWatch._on_signal"} <= raised
