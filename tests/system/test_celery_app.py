"""An unmodified Celery app in taskd's pools: Celery's tracer runs its tasks, its backend has their ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded, WorkerLostError
from celery import chain, chord, group
from celery.exceptions import NotRegistered

from tests import services
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.system.daemon import Daemon, head_over
from tests.waiting import wait_until

pytestmark = CELERYS_WARNINGS

POOLS = [
    "prefork",
    "threads",
    "solo",
    pytest.param("gevent", marks=pytest.mark.slow),
    pytest.param("eventlet", marks=pytest.mark.slow),
]


def worker_table(pool: str) -> str:
    slots = "" if pool == "solo" else "concurrency = 2"
    return f'[worker.main]\nqueues = ["celery"]\npool = "{pool}"\n{slots}\n'


class Kiosk:
    """A daemon whose worker runs the app, and a client of that app that has none of its code."""

    def __init__(self, daemon: Daemon, client: Any, notes: Path) -> None:
        self.daemon = daemon
        self.client = client
        self._notes = notes

    def call(self, name: str, *args: object, **kwargs: object) -> Any:
        return self.client.signature(f"tests.system.kiosk.{name}", args, kwargs)

    def send(self, name: str, *args: object, **options: Any) -> Any:
        return self.call(name, *args).apply_async(**options)

    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    def log(self) -> str:
        return self.daemon.log.read_text()


@pytest.fixture
def open_kiosk(
    make_daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Kiosk]]:
    opened = []

    def open_one(pool: str) -> Kiosk:
        url = services.redis_database()
        notes = tmp_path / "notes"
        monkeypatch.setenv("TEST_BROKER", url)
        monkeypatch.setenv("TEST_NOTES", str(notes))
        daemon = make_daemon(worker_table(pool), head=head_over(url, url, app="kiosk"))
        daemon.start()
        client = client_over(url, url)
        opened.append(client)
        return Kiosk(daemon, client.__enter__(), notes)

    yield open_one
    for each in opened:
        each.__exit__(None, None, None)


@pytest.fixture(params=POOLS)
def kiosk(request: pytest.FixtureRequest, open_kiosk: Callable[[str], Kiosk]) -> Kiosk:
    return open_kiosk(request.param)


@pytest.fixture
def prefork(open_kiosk: Callable[[str], Kiosk]) -> Kiosk:
    return open_kiosk("prefork")


def test_tasks_of_every_kind_end_as_in_celery(kiosk: Kiosk, tmp_path: Path) -> None:
    client = kiosk.client

    assert kiosk.send("add", 1, 2).get(timeout=60) == 3
    assert kiosk.send("counted", 7).get(timeout=60) == 7
    assert kiosk.send("flaky", str(tmp_path / "runs"), 2).get(timeout=60) == 3
    assert kiosk.send("retried").get(timeout=60) == 1
    assert kiosk.send("replaced", 1, 2).get(timeout=60) == 103
    assert chain(kiosk.call("add", 1, 2), kiosk.call("add", 10)).delay().get(timeout=60) == 13
    assert sorted(group(kiosk.call("add", n, n) for n in range(5)).delay().get(timeout=60)) == [0, 2, 4, 6, 8]
    assert (
        chord([kiosk.call("add", n, n) for n in range(5)], kiosk.call("total")).delay().get(timeout=60) == 20
    )
    assert (
        chord([kiosk.call("widened"), kiosk.call("add", 1, 1)], kiosk.call("total")).delay().get(timeout=60)
        == 44
    )
    assert client.AsyncResult(kiosk.send("fan_out", 4).get(timeout=60)).get(timeout=60) == 12
    with pytest.raises(NotRegistered):
        client.send_task("kiosk.unknown").get(timeout=60)


def test_a_task_sees_its_request(kiosk: Kiosk) -> None:
    result = kiosk.send("about", headers={"x-tenant": "acme"}, app_id="shop")

    seen = result.get(timeout=60)
    assert seen["id"] == result.id
    assert seen["hostname"].startswith("main-1@")
    assert seen["headers"] == {"x-tenant": "acme"}
    assert seen["delivery_info"]["routing_key"] == "celery"
    assert (seen["called_directly"], seen["app_id"]) == (False, "shop")
    line = rf"task=tests.system.kiosk.about id={result.id} a line of the task"
    wait_until(lambda: re.search(line, kiosk.log()))


def test_handlers_of_a_base_class_hear_of_every_end(prefork: Kiosk) -> None:
    good = prefork.send("counted", 1)
    bad = prefork.send("counted", -1)
    again = prefork.send("retried")
    assert (good.get(timeout=60), again.get(timeout=60)) == (1, 1)
    with pytest.raises(ValueError, match="-1"):
        bad.get(timeout=60)

    def heard(result: Any) -> list[str]:
        return [line.replace(f" {result.id}", "") for line in prefork.notes() if result.id in line]

    # Celery stores a result and sends a retry first, and calls the handlers then.
    wait_until(lambda: [len(heard(each)) for each in (good, bad, again)] == [3, 3, 5])
    assert heard(good) == ["before_start", "on_success 1", "after_return SUCCESS"]
    assert heard(bad) == ["before_start", "on_failure ValueError", "after_return FAILURE"]
    of_both_runs = heard(again)
    of_both_runs.remove("on_retry ValueError")
    assert of_both_runs == ["before_start", "before_start", "on_success 1", "after_return SUCCESS"]


@pytest.mark.parametrize("pool", ["prefork", "threads", pytest.param("gevent", marks=pytest.mark.slow)])
def test_the_soft_limit_is_celerys_exception(pool: str, open_kiosk: Callable[[str], Kiosk]) -> None:
    kiosk = open_kiosk(pool)

    assert kiosk.send("limited").get(timeout=60) == "asked to end"
    with pytest.raises(SoftTimeLimitExceeded):
        kiosk.send("overdue").get(timeout=60)


def test_a_task_that_ends_its_process_is_a_failure_and_its_child_lives(prefork: Kiosk) -> None:
    before = set(prefork.daemon.pids())
    result = prefork.send("leaves")

    with pytest.raises(Exception, match="the task tried to end its process: SystemExit"):
        result.get(timeout=60)
    assert set(prefork.daemon.pids()) == before


def test_a_result_that_the_backend_refuses_is_a_failure_that_names_it(prefork: Kiosk) -> None:
    with pytest.raises(Exception, match="not JSON serializable"):
        prefork.send("unstorable").get(timeout=60)


def test_a_rejected_message_is_a_dead_letter_and_a_failure(prefork: Kiosk) -> None:
    result = prefork.send("rejected")

    with pytest.raises(Exception, match="not for us"):
        result.get(timeout=60)
    wait_until(lambda: "rejected: not for us; dead-lettered" in prefork.log())


def test_a_task_whose_child_dies_fails_unless_it_says_that_it_may_run_again(prefork: Kiosk) -> None:
    lost = prefork.send("dies")
    again = prefork.send("dies_once")

    with pytest.raises(WorkerLostError, match="SIGKILL"):
        lost.get(timeout=60)
    assert again.get(timeout=60) == "second run"
    runs = [line.split()[0] for line in prefork.notes() if line.startswith("dies")]
    assert (runs.count("dies"), runs.count("dies_once")) == (1, 2)


def test_a_message_that_is_not_acknowledged_on_failure_is_a_dead_letter(prefork: Kiosk) -> None:
    result = prefork.send("keeps_its_message")

    with pytest.raises(ValueError, match="kept"):
        result.get(timeout=60)
    wait_until(lambda: result.id in prefork.daemon.ctl("dlq", "list").stdout)


def test_a_task_that_its_limit_ends_runs_again_where_celery_would_not_acknowledge_it(prefork: Kiosk) -> None:
    assert prefork.send("too_long_at_first").get(timeout=60) == "second run"


def test_no_end_is_lost_while_the_apps_backend_is_down(
    open_kiosk: Callable[[str], Kiosk], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = services.RedisServer()
    monkeypatch.setenv("TEST_RESULTS", backend.url)
    kiosk = open_kiosk("prefork")
    backend.kill()
    late = kiosk.send("late")
    early = kiosk.send("add", 1, 2)
    wait_until(lambda: f"id={late.id} runs again in" in kiosk.log())
    wait_until(lambda: re.search(f"id={early.id} its end FAILURE is not", kiosk.log()), what=kiosk.log())

    backend.start()

    with client_over(backend.url, backend.url) as client:
        assert client.AsyncResult(late.id).get(timeout=60) == "stored"
        with pytest.raises(WorkerLostError, match="backend did not take the end of the run"):
            client.AsyncResult(early.id).get(timeout=60)
    backend.end()


def test_signals_come_in_celerys_order(prefork: Kiosk) -> None:
    wait_until(lambda: any(line.startswith("worker_ready") for line in prefork.notes()))
    assert prefork.daemon.stop() == 0

    lines = [line.split() for line in prefork.notes()]
    order = list(dict.fromkeys(line[0] for line in lines))
    assert order == [
        "celeryd_init",
        "worker_init",
        "after_setup_logger",
        "after_setup_task_logger",
        "celeryd_after_setup",
        "worker_process_init",
        "worker_ready",
        "worker_shutting_down",
        "worker_shutdown",
        "worker_process_shutdown",
    ]
    children = {line[1] for line in lines if line[0] == "worker_process_init"}
    assert len(children) == 2
    assert {line[1] for line in lines if line[0] == "worker_process_shutdown"} == children
    assert {line[1] for line in lines if line[0] == "worker_ready"} <= children


def test_a_check_imports_the_app_and_counts_its_tasks(prefork: Kiosk) -> None:
    done = prefork.daemon.check("--import")

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"tests.system.kiosk:app has \d\d tasks", done.stdout)


def test_the_asyncio_pool_refuses_a_celery_app(
    make_daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_BROKER", "memory://")
    monkeypatch.setenv("TEST_NOTES", str(tmp_path / "notes"))
    daemon = make_daemon(worker_table("asyncio"), head=head_over(app="kiosk"))
    daemon.spawn()

    wait_until(lambda: 'pool = "asyncio" cannot run a Celery app; use prefork' in daemon.log.read_text())


def test_remote_control_shows_the_settings_and_the_software_of_the_app(prefork: Kiosk) -> None:
    inspect = prefork.client.control.inspect(limit=1, timeout=60)
    (conf,) = inspect.conf().values()
    (report,) = inspect.report().values()

    assert conf["broker_url"].startswith("redis://")
    assert conf["app"] == "tests.system.kiosk:app"
    assert "software -> celery:" in report["ok"]
