"""The daemon on RabbitMQ: tasks of our clients and of Celery's, crashes, and connections that are closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from celery import Celery

from tests import services
from tests.services import RabbitServer
from tests.system.daemon import ONE_WORKER_FOR_CELERY, Daemon, head_over
from tests.system.notes import lines
from tests.waiting import wait_until


@pytest.fixture
def server() -> RabbitServer:
    """One for all tests; each has a virtual host of its own."""
    return services.rabbit_server()


@pytest.fixture
def url(server: RabbitServer) -> str:
    return services.rabbit_url()


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon], url: str) -> Daemon:
    daemon = make_daemon(ONE_WORKER_FOR_CELERY, head=head_over(url, "sqlite://results.db"))
    daemon.start()
    return daemon


@pytest.fixture
def celery(url: str) -> Iterator[Celery]:
    client = Celery("client", broker=url, backend="rpc://")
    yield client
    client.close()


def test_a_task_of_celerys_client_runs(daemon: Daemon, celery: Celery) -> None:
    for options in ({}, {"countdown": 0.3}):
        sent = celery.send_task("shop.add", (2, 3), **options)
        assert daemon.app.result(sent.id).get(timeout=60) == 5


def cut(server: RabbitServer, url: str) -> None:
    """Have the server close the connections of the test's own virtual host, and no others."""
    server.control("close_all_connections", "--vhost", urlsplit(url).path[1:], "for the test")


def note_many(daemon: Daemon, notes: Path, count: int) -> set[str]:
    """Send tasks of some milliseconds that note their numbers; return the numbers."""
    numbers = [str(number) for number in range(count)]
    daemon.app.send_many([daemon.app.call("shop.slow_note", str(notes), number) for number in numbers])
    return set(numbers)


@pytest.mark.slow
def test_connections_that_are_closed_in_mid_flight_are_opened_again_and_nothing_is_lost(
    daemon: Daemon, server: RabbitServer, url: str, tmp_path: Path
) -> None:
    gate, runs, notes = tmp_path / "gate", tmp_path / "runs", tmp_path / "notes"
    held = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(lambda: lines(runs), 10)
    numbers = note_many(daemon, notes, 400)
    wait_until(lambda: len(lines(notes)) > 20, 10)
    pid = daemon.pid_of("main-1")

    cut(server, url)
    gate.touch()

    wait_until(lambda: numbers <= set(lines(notes)), 30)
    assert daemon.app.send_task("shop.add", (2, 2)).get(timeout=60) == 4
    assert held.get(timeout=60) == "held"
    assert daemon.pid_of("main-1") == pid
    assert daemon.dead_letters() == []


def came_again(daemon: Daemon, times: int) -> bool:
    return daemon.log.read_text().count("came again while it runs here") == times


@pytest.mark.slow
def test_a_task_that_outlives_its_connections_runs_once(
    daemon: Daemon, server: RabbitServer, url: str, tmp_path: Path
) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    held = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(lambda: lines(runs), 10)

    for times in range(1, 4):  # as at the end of consumer_timeout
        cut(server, url)
        wait_until(partial(came_again, daemon, times))
    gate.touch()

    assert held.get(timeout=60) == "held"
    assert len(lines(runs)) == 1
    assert daemon.dead_letters() == []


@pytest.mark.slow
def test_a_server_that_is_killed_under_load_loses_nothing(
    daemon: Daemon, server: RabbitServer, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    sent = [daemon.app.send_task("shop.add", (number, 1), countdown=2.0) for number in range(20)]
    numbers = note_many(daemon, notes, 1000)
    wait_until(lambda: len(lines(notes)) > 20, 10)

    server.kill()
    assert not numbers <= set(lines(notes))
    wait_until(lambda: daemon.row("main-1")["state"] != "READY", 20)
    server.start()

    assert [each.get(timeout=60) for each in sent] == list(range(1, 21))
    wait_until(lambda: numbers <= set(lines(notes)), 30)
    assert daemon.dead_letters() == []


@pytest.mark.slow
def test_a_queue_that_is_deleted_in_mid_flight_is_made_again(
    daemon: Daemon, server: RabbitServer, url: str, tmp_path: Path
) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    held = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(lambda: lines(runs), 10)

    server.control("delete_queue", "default", "--vhost", url.rpartition("/")[2])

    assert daemon.app.send_task("shop.add", (2, 2)).get(timeout=60) == 4
    gate.touch()
    assert held.get(timeout=60) == "held"
