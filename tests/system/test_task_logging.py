"""What tasks log names the task, on every pool; what they print is left alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.system.daemon import Daemon
from tests.waiting import wait_until

GEVENT = pytest.mark.skipif(find_spec("gevent") is None, reason="gevent is not installed")
POOLS = ["prefork", "threads", "solo", "asyncio", pytest.param("gevent", marks=GEVENT)]
WORKER = '[worker.main]\napp = "tests.system.following:app"\nconcurrency = 2\n'


@pytest.mark.parametrize("pool", POOLS)
def test_a_line_of_a_task_names_the_task(make_daemon: Callable[..., Daemon], pool: str) -> None:
    daemon = make_daemon(f'{WORKER}pool = "{pool}"\n')
    daemon.start()
    sold = daemon.app.send_task("following.sell", (3,))
    later = daemon.app.send_task("following.sell_later", (4,))
    sold.get(timeout=60)
    later.get(timeout=60)

    # What workers write comes through the supervisor: when it has ended, everything is there.
    daemon.stop()
    log = daemon.log.read_text()
    assert f": task=following.sell id={sold.id} sold 3\n" in log
    assert f": task=following.sell_later id={later.id} sold 4\n" in log
    assert "\nprinted as it is\n" in f"\n{log}"


def test_in_json_they_are_fields(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(f'{WORKER}\n[log]\nformat = "json"\n')
    daemon.start()
    sold = daemon.app.send_task("following.sell", (3,))
    sold.get(timeout=60)

    daemon.stop()
    entries = [json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{")]
    (entry,) = [entry for entry in entries if entry["message"] == "sold 3"]
    assert (entry["task"], entry["id"]) == ("following.sell", sold.id)
    assert entry["logger"] == "following.sales"


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_a_task_prints_is_there_while_it_runs(
    make_daemon: Callable[..., Daemon], pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    daemon = make_daemon(f'{WORKER}pool = "{pool}"\n')
    daemon.start()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    result = daemon.app.send_task("following.say_and_wait", (str(gate),))

    wait_until(lambda: "half of it is done\n" in daemon.log.read_text())

    gate.write_bytes(b"")
    result.get(timeout=60)
