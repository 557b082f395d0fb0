"""Children that are replaced, and pools that follow their load, in a real daemon."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskd.base.ids import node_name
from tests.system.daemon import Daemon
from tests.waiting import wait_until


def stats(daemon: Daemon) -> dict[str, Any]:
    answers = json.loads(daemon.ctl("inspect", "stats", "--json").stdout)["nodes"]
    return dict(answers.get(node_name("main-1"), {}))


def test_no_child_runs_more_tasks_than_the_file_says(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon("[worker.main]\nconcurrency = 2\nmax_tasks_per_child = 10\n")
    daemon.start()

    results = daemon.app.send_many([daemon.app.call("shop.pid") for _ in range(200)])
    runs = Counter(result.get(timeout=60) for result in results)

    assert sum(runs.values()) == 200
    assert max(runs.values()) <= 10
    wait_until(lambda: stats(daemon)["pool"]["replaced"]["max_tasks_per_child"] >= 18)
    assert "reason=max_tasks_per_child jobs=10" in daemon.log.read_text()
    assert daemon.stop() == 0
    assert "child ended" not in daemon.log.read_text()


@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=pytest.mark.slow)])
def test_load_grows_the_pool_and_rest_shrinks_it_and_no_task_is_lost(
    make_daemon: Callable[..., Daemon], tmp_path: Path, pool: str
) -> None:
    daemon = make_daemon(
        f'[worker.main]\npool = "{pool}"\nmin_concurrency = 1\nconcurrency = 4\nshrink_after = "1s"\n'
    )
    daemon.start()
    assert stats(daemon)["autoscaler"] == {"max": 4, "min": 1, "current": 1, "qty": 0}
    runs, gate = tmp_path / "runs", tmp_path / "gate"

    held = [daemon.app.send_task("shop.hold", (str(runs), str(gate))) for _ in range(6)]
    wait_until(lambda: runs.exists() and len(runs.read_text().split()) == 4, 10)
    assert stats(daemon)["autoscaler"] == {"max": 4, "min": 1, "current": 4, "qty": 4}
    gate.touch()

    assert [result.get(timeout=60) for result in held] == ["held"] * 6
    wait_until(lambda: stats(daemon)["autoscaler"]["current"] == 1, 15)
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    assert daemon.stop() == 0
    assert len(runs.read_text().split()) == 6


def test_a_pool_of_fixed_size_has_no_autoscaler(daemon: Daemon) -> None:
    assert "autoscaler" not in stats(daemon)


@pytest.mark.parametrize("measure", ["rss", "pss"])
def test_a_child_whose_task_leaks_is_replaced(make_daemon: Callable[..., Daemon], measure: str) -> None:
    daemon = make_daemon(
        '[worker.main]\napp = "tests.system.leaky:app"\nconcurrency = 1\n'
        f'max_memory_per_child = "100MB"\nmemory_measure = "{measure}"\n'
    )
    daemon.start()

    first = daemon.app.send_task("leaky.keep", (10,)).get(timeout=60)
    assert daemon.app.send_task("leaky.keep", (100_000_000,)).get(timeout=60) == first

    wait_until(lambda: "reason=max_memory_per_child jobs=2" in daemon.log.read_text(), 10)
    assert daemon.app.send_task("leaky.keep", (10,)).get(timeout=60) != first


def test_a_worker_whose_task_code_starts_threads_is_ready_and_says_what_it_costs(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon('[worker.main]\napp = "tests.system.threaded_app:app"\nconcurrency = 2\n')
    daemon.start()

    where = daemon.app.send_task("tests.system.threaded_app.where").get(timeout=60)
    assert isinstance(where, (list, tuple))
    assert where[1] >= 2
    assert stats(daemon)["pool"]["preloaded"] is False
    assert daemon.stop() == 0
    log = daemon.log.read_text()
    assert log.count("each child imports the task code for itself") == 1
    assert "metrics-pusher" in log
    assert "template ended" not in log
