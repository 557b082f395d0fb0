"""The daemon on Redis: tasks from our clients and from Celery's, results both ways, and crashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from redis import Redis

from tests.services import RedisServer
from tests.system.daemon import ONE_WORKER_FOR_CELERY, Daemon, head_over
from tests.waiting import wait_until


@pytest.fixture
def server() -> Iterator[RedisServer]:
    started = RedisServer()
    yield started
    started.end()


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon], server: RedisServer) -> Daemon:
    daemon = make_daemon(ONE_WORKER_FOR_CELERY, head=head_over(server.url, server.url))
    daemon.start()
    return daemon


@pytest.fixture
def celery(server: RedisServer) -> Iterator[Celery]:
    client = Celery("client", broker=server.url, backend=server.url)
    yield client
    client.close()


def test_a_task_of_celerys_client_runs_and_answers(daemon: Daemon, celery: Celery) -> None:
    assert celery.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    assert celery.send_task("shop.add", (2, 3), countdown=0.3).get(timeout=60) == 5


def test_a_worker_that_starts_on_a_full_server_empties_it(
    make_daemon: Callable[..., Daemon], server: RedisServer
) -> None:
    daemon = make_daemon(ONE_WORKER_FOR_CELERY, head=head_over(server.url, "sqlite://results.db"))
    sent = [daemon.app.send_task("shop.add", (number, 1)) for number in range(20)]
    with Redis.from_url(server.url) as admin:
        admin.config_set("maxmemory", "1")

    daemon.start()

    assert [each.get(timeout=60) for each in sent] == [number + 1 for number in range(20)]
    # An answer has no room, which is not a reason to stop work.
    daemon.ctl("inspect", "ping", "--timeout", "1s", check=False)
    assert daemon.broker().desk().purge("default") == 0
    with Redis.from_url(server.url) as admin:
        admin.config_set("maxmemory", "0")
    assert daemon.app.send_task("shop.add", (1, 1)).get(timeout=60) == 2
    assert "not consuming" not in daemon.log.read_text()


def test_a_server_that_restarts_empty_is_used_again(daemon: Daemon, server: RedisServer) -> None:
    assert daemon.app.send_task("shop.add", (1, 1)).get(timeout=60) == 2

    server.kill()
    wait_until(lambda: daemon.row("main-1")["state"] == "STARTING", 20)
    server.start()

    wait_until(lambda: daemon.row("main-1")["state"] == "READY", 30)
    assert daemon.app.send_task("shop.add", (2, 2)).get(timeout=60) == 4
