"""Celery's own ``inspect`` and ``control`` ask our workers: every command, with the shape of its reply."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskd.base.ids import node_name
from tests.system.celery_client import celery_app
from tests.system.daemon import ONE_PREFORK_WORKER, Daemon
from tests.waiting import wait_until

NODE = node_name("main-1")
INFO = {
    "id", "name", "args", "kwargs", "type", "hostname", "time_start", "acknowledged", "delivery_info",
    "worker_pid",
}  # fmt: skip


@pytest.fixture
def daemon(daemon_over: Callable[[str], Daemon]) -> Daemon:
    return daemon_over(ONE_PREFORK_WORKER)


@pytest.fixture
def celery(daemon: Daemon) -> Iterator[Any]:
    app = celery_app(daemon)
    yield app
    app.close()


def inspect(celery: Any) -> Any:
    return celery.control.inspect([NODE], timeout=60)


def tell(celery: Any, method: str, *args: object, **options: object) -> Any:
    """Call a method of ``app.control`` and return this node's reply."""
    (reply,) = getattr(celery.control, method)(*args, destination=[NODE], reply=True, timeout=60, **options)
    return reply[NODE]


def hold(daemon: Daemon, tmp_path: Path) -> tuple[str, Path]:
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    task_id = daemon.app.send_task("shop.hold", (str(runs), str(gate))).id
    wait_until(runs.exists, 10)
    return task_id, gate


def test_ping_clock_report_conf_and_memory(celery: Any) -> None:
    ask = inspect(celery)

    assert ask.ping() == {NODE: {"ok": "pong"}}
    first, second = ask.clock()[NODE]["clock"], ask.clock()[NODE]["clock"]
    assert first < second
    assert ask.report()[NODE]["ok"].startswith("taskd ")
    assert ask.conf()[NODE]["app"] == "tests.system.shop:app"
    assert ask.conf(with_defaults=True)[NODE]["broker"] == "********"
    assert ask.memsample()[NODE].endswith("MB")
    assert ask.memdump(samples=3)[NODE].endswith("MB")
    assert "tracemalloc" in ask.objgraph()[NODE]["error"]


def test_the_clock_of_whoever_asks_moves_the_workers_clock(celery: Any) -> None:
    celery.control.mailbox.clock.adjust(5000)

    assert inspect(celery).clock()[NODE]["clock"] > 5000


def test_tasks_that_run_wait_and_are_to_come(celery: Any, daemon: Daemon, tmp_path: Path) -> None:
    task_id, gate = hold(daemon, tmp_path)
    later = daemon.app.send_task("shop.add", (1, 2), countdown=600, priority=3).id
    ask = inspect(celery)

    (active,) = ask.active()[NODE]
    (safe,) = ask.active(safe=True)[NODE]
    (scheduled,) = ask.scheduled()[NODE]
    known = ask.query_task(task_id, later, "nothing")[NODE]
    gate.touch()

    assert set(active) == set(safe) == set(scheduled["request"]) == INFO
    assert (active["id"], active["type"], active["hostname"]) == (task_id, "shop.hold", NODE)
    assert active["args"] == [str(tmp_path / "runs"), str(gate)]
    assert isinstance(safe["args"], str)
    assert set(active["delivery_info"]) == {"exchange", "routing_key", "priority", "redelivered"}
    assert set(scheduled) == {"eta", "priority", "request"}
    assert (scheduled["request"]["id"], scheduled["request"]["args"]) == (later, [1, 2])
    assert {key: state for key, (state, _) in known.items()} == {task_id: "active", later: "scheduled"}


def test_reserved_shows_what_waits_behind_a_running_task(
    daemon_over: Callable[[str], Daemon], tmp_path: Path
) -> None:
    daemon = daemon_over("[worker.main]\nconcurrency = 1\nprefetch = 5\n")
    app = celery_app(daemon)
    _, gate = hold(daemon, tmp_path)
    waiting = daemon.app.send_task("shop.add", (1, 2)).id

    def reserved() -> Any:
        return [task["id"] for task in inspect(app).reserved()[NODE]]

    try:
        wait_until(lambda: reserved() == [waiting], 10)
        assert inspect(app).query_task(waiting)[NODE][waiting][0] == "reserved"
    finally:
        gate.touch()
        app.close()


def test_stats_and_queues_have_celerys_keys(celery: Any) -> None:
    stats = inspect(celery).stats()[NODE]
    (queue,) = inspect(celery).active_queues()[NODE]

    assert {"total", "pid", "clock", "uptime", "pool", "broker", "prefetch_count", "rusage"} <= set(stats)
    assert isinstance(stats["clock"], str)
    assert {
        "implementation", "max-concurrency", "processes", "max-tasks-per-child", "put-guarded-by-semaphore",
        "timeouts", "writes",
    } <= set(stats["pool"])  # fmt: skip
    assert len(stats["rusage"]) == 16
    with celery.connection_for_read() as connection:
        assert set(stats["broker"]) == set(connection.info()) - {"password"}
    from kombu.entity import Exchange, Queue

    theirs = Queue("default", Exchange("default"), routing_key="default").as_dict(recurse=True)
    assert {key: type(value) for key, value in queue.items()} == {
        key: type(value) for key, value in theirs.items()
    }
    assert set(queue["exchange"]) == set(theirs["exchange"])


def test_registered_tasks_show_their_options(celery: Any) -> None:
    ask = inspect(celery)
    assert "shop.add" in ask.registered()[NODE]
    assert tell(celery, "rate_limit", "shop.add", "10/m") == {"ok": "new rate limit set successfully"}

    assert "shop.add [rate_limit=10/m]" in ask.registered()[NODE]
    assert "shop.add [acks=late]" in ask.registered("acks")[NODE]


def test_revocations_and_hello(celery: Any) -> None:
    assert tell(celery, "revoke", "id-1") == {"ok": "tasks {'id-1'} flagged as revoked"}
    assert tell(celery, "revoke", ["id-2"], terminate=True) == {"ok": "terminate: tasks unknown"}
    assert tell(celery, "terminate", "id-3", signal="KILL") == {"ok": "terminate: tasks unknown"}
    assert tell(celery, "revoke_by_stamped_headers", {"k": "v"}) == {
        "ok": "headers {'k': 'v'} flagged as revoked, but not terminated"
    }
    assert tell(celery, "revoke_by_stamped_headers", {"k": "v"}, terminate=True) == {
        "ok": "headers {'k': 'v'} were not terminated"
    }
    assert inspect(celery).revoked()[NODE] == ["id-1", "id-2", "id-3"]

    hello = inspect(celery).hello("celery@elsewhere", ["id-4"])[NODE]

    assert hello["revoked"] == ["id-1", "id-2", "id-3", "id-4"]
    assert hello["revoked_stamps"] == ["k=v"]
    assert isinstance(hello["clock"], int)
    assert inspect(celery).hello(NODE) in (None, {NODE: None})


def test_a_running_task_is_terminated(celery: Any, daemon: Daemon, tmp_path: Path) -> None:
    task_id, _ = hold(daemon, tmp_path)

    assert tell(celery, "terminate", task_id, signal="KILL") == {"ok": f"terminate: {task_id}"}

    with pytest.raises(Exception, match="terminated"):
        daemon.app.result(task_id).get(timeout=60)


def test_limits(celery: Any) -> None:
    assert tell(celery, "rate_limit", "shop.add", 0) == {"ok": "rate limit disabled successfully"}
    assert tell(celery, "rate_limit", "nothing", "1/s") == {"error": "unknown task"}
    refused = tell(celery, "rate_limit", "shop.add", "often")
    assert refused["error"].startswith("Invalid rate limit string: ValueError(")
    assert tell(celery, "time_limit", "shop.add", soft=5, hard=9) == {"ok": "time limits set successfully"}
    assert tell(celery, "time_limit", "nothing", soft=5) == {"error": "unknown task"}


def test_the_pool_grows_shrinks_and_does_not_restart(celery: Any) -> None:
    assert tell(celery, "pool_grow", 2) == {"ok": "pool will grow"}
    wait_until(lambda: len(inspect(celery).stats()[NODE]["pool"]["processes"]) == 4, 10)
    assert tell(celery, "pool_shrink", 1) == {"ok": "pool will shrink"}
    assert tell(celery, "pool_restart")["error"].startswith("ValueError('Pool restarts not enabled')")
    assert tell(celery, "autoscale", 3, 1)["error"].startswith("ValueError('Autoscale not enabled')")


def test_the_bounds_of_a_pool_that_scales_are_changed(daemon_over: Callable[[str], Daemon]) -> None:
    app = celery_app(daemon_over("[worker.main]\nconcurrency = 2\nmin_concurrency = 1\n"))
    try:
        assert tell(app, "autoscale", 4, 2) == {"ok": "autoscale now max=4 min=2"}
        wait_until(lambda: inspect(app).stats()[NODE]["autoscaler"]["current"] == 2, 10)
        shown = inspect(app).stats()[NODE]["autoscaler"]
        assert (shown["max"], shown["min"]) == (4, 2)
        assert "Adjust autoscale range" in tell(app, "pool_grow", 1)["error"]
        assert tell(app, "autoscale", 1, 5)["error"].startswith("ValueError(")
    finally:
        app.close()


def test_queues_are_added_bound_and_cancelled(celery: Any, daemon: Daemon) -> None:
    from kombu.entity import Exchange
    from kombu.messaging import Producer

    assert tell(celery, "add_consumer", "extra") == {"ok": "add consumer extra"}
    assert daemon.app.send_task("shop.add", (2, 3), queue="extra").get(timeout=60) == 5
    said = tell(
        celery, "add_consumer", "bound", exchange="letters", exchange_type="topic", routing_key="letter.*"
    )
    assert said == {"ok": "add consumer bound"}
    names = [queue["name"] for queue in inspect(celery).active_queues()[NODE]]
    assert names == ["default", "extra", "bound"]
    letters = Exchange("letters", type="topic")
    with celery.connection_for_write() as connection:
        Producer(connection).publish(
            [[2, 3], {}, None],
            exchange=letters,
            declare=[letters],  # over Redis kombu knows the type of no exchange that it has not declared
            routing_key="letter.red",
            headers={"task": "shop.add", "id": "id-bound", "lang": "py"},
            serializer="json",
        )
    assert daemon.app.result("id-bound").get(timeout=60) == 5

    assert tell(celery, "cancel_consumer", "extra") == {"ok": "no longer consuming from extra"}
    assert [queue["name"] for queue in inspect(celery).active_queues()[NODE]] == ["default", "bound"]


def test_commands_for_monitors(celery: Any) -> None:
    assert tell(celery, "enable_events") == {"ok": "task events enabled"}
    assert tell(celery, "disable_events") == {"ok": "task events disabled"}
    assert tell(celery, "broadcast", "heartbeat") is None


def test_an_unknown_command_and_wrong_arguments_are_answered_with_an_error(celery: Any) -> None:
    assert tell(celery, "broadcast", "x") == {"error": "KeyError('x')"}
    assert "TypeError" in tell(celery, "broadcast", "pool_grow", arguments={"slots": 1})["error"]


def test_a_worker_that_is_shut_down_says_so_and_is_started_again(celery: Any, daemon: Daemon) -> None:
    pid = daemon.pid_of("main-1")

    assert "its supervisor starts it again" in tell(celery, "shutdown")["ok"]

    wait_until(lambda: daemon.pid_of("main-1") not in (0, pid), 20)
    daemon.wait_ready()
    assert inspect(celery).ping() == {NODE: {"ok": "pong"}}


def test_only_the_nodes_that_are_meant_answer(celery: Any) -> None:
    control = celery.control

    assert control.ping(destination=["other@host"], timeout=0.3) == []
    # Over Redis, kombu's former look for answers may take one with it, from Celery's worker too.
    wait_until(lambda: control.ping(timeout=0.5) == [{NODE: {"ok": "pong"}}])
    by_glob = control.inspect(pattern="main-*", matcher="glob", timeout=0.5)
    wait_until(lambda: by_glob.ping() == {NODE: {"ok": "pong"}})
    assert control.inspect(pattern="beat-.*", matcher="pcre", timeout=0.3).ping() is None


def test_a_draining_worker_still_answers(celery: Any, daemon: Daemon, tmp_path: Path) -> None:
    task_id, gate = hold(daemon, tmp_path)
    daemon.signal(signal.SIGTERM)
    daemon.wait_draining()

    assert inspect(celery).ping() == {NODE: {"ok": "pong"}}
    assert [task["id"] for task in inspect(celery).active()[NODE]] == [task_id]
    gate.touch()
    assert daemon.wait_exit() == 0
