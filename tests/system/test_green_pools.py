"""The asyncio, gevent and eventlet pools in a real daemon: a task that waits stops no other."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from taskd.protocol.exceptions import TimeLimitExceeded
from tests.system.daemon import Daemon, head_over
from tests.system.shared_brokers import BROKERS
from tests.waiting import wait_until


def needs(library: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(library) is None, reason=f"{library} is not installed")


GREEN = [
    pytest.param("gevent", marks=needs("gevent")),
    pytest.param("eventlet", marks=[needs("eventlet"), pytest.mark.slow]),
]
KINDS = ["asyncio", *GREEN]

_HEAD = head_over(app="waiting_shop")

Make = Callable[..., Daemon]


def started(make_daemon: Make, kind: str, concurrency: int = 2, head: str = _HEAD) -> Daemon:
    daemon = make_daemon(f'[worker.main]\npool = "{kind}"\nconcurrency = {concurrency}\n', head=head)
    daemon.start()
    return daemon


@pytest.mark.parametrize("over", ["redis", pytest.param("rabbitmq", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", GREEN)
def test_a_green_worker_runs_tasks_over_a_server(
    kind: str, over: str, make_daemon: Make, tmp_path: Path
) -> None:
    daemon = started(make_daemon, kind, head=head_over(BROKERS[over](tmp_path)))

    sent = [daemon.app.send_task("shop.add", (number, 1)) for number in range(20)]

    assert [each.get(timeout=60) for each in sent] == list(range(1, 21))
    assert "pong" in daemon.ctl("inspect", "ping", "--timeout", "1.5").stdout


class Desk:
    """A server whose answers wait until the test gives them."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(60)
        self.port = self._server.getsockname()[1]
        self._asking: list[socket.socket] = []

    def questions(self, count: int) -> set[str]:
        """Wait until so many have asked, none of them answered; return what they ask."""
        asked = set()
        for _ in range(count):
            connection, _address = self._server.accept()
            connection.settimeout(60)
            self._asking.append(connection)
            asked.add(connection.recv(100).decode().strip())
        return asked

    def answer(self) -> None:
        """Answer everybody."""
        for connection in self._asking:
            connection.sendall(b"yes")
        self.close_connections()

    def close_connections(self) -> None:
        for connection in self._asking:
            connection.close()
        self._asking.clear()

    def close(self) -> None:
        self.close_connections()
        self._server.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["ask", "ask_async"])
def test_a_task_that_waits_for_a_socket_does_not_stop_another(
    make_daemon: Make, desk: Desk, kind: str, task: str
) -> None:
    daemon = started(make_daemon, kind)
    results = [daemon.app.send_task(f"waiting.{task}", (desk.port, f"q{number}")) for number in range(2)]

    assert desk.questions(2) == {"q0", "q1"}

    assert "main-1@" in daemon.ctl("inspect", "ping").stdout
    desk.answer()
    assert [result.get(timeout=60) for result in results] == ["yes", "yes"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_tasks_wait_at_once(make_daemon: Make, desk: Desk, kind: str) -> None:
    daemon = started(make_daemon, kind, concurrency=0)
    results = [daemon.app.send_task("waiting.ask", (desk.port, f"q{number}")) for number in range(100)]

    assert len(desk.questions(100)) == 100

    desk.answer()
    assert {result.get(timeout=60) for result in results} == {"yes"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_task_may_run_an_event_loop_beside_a_coroutine(
    make_daemon: Make, desk: Desk, kind: str
) -> None:
    daemon = started(make_daemon, kind)
    first = daemon.app.send_task("waiting.ask_async", (desk.port, "first"))
    assert desk.questions(1) == {"first"}
    second = daemon.app.send_task("waiting.ask_by_run", (desk.port, "second"))
    assert desk.questions(1) == {"second"}

    desk.answer()

    assert [first.get(timeout=60), second.get(timeout=60)] == ["yes", "yes"]


@pytest.mark.parametrize("kind", KINDS)
def test_limits_reach_a_waiting_task(make_daemon: Make, kind: str) -> None:
    daemon = started(make_daemon, kind, concurrency=4)
    patient = [daemon.app.send_task(f"waiting.{name}", ()) for name in ("patient", "patient_async")]
    endless = [daemon.app.send_task(f"waiting.{name}", ()) for name in ("endless", "endless_async")]

    assert [result.get(timeout=60) for result in patient] == ["stopped in time"] * 2
    for result in endless:
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=60)
    with pytest.raises(Exception, match="tried to end its process"):
        daemon.app.send_task("waiting.exit", ()).get(timeout=60)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["ask", "ask_async"])
def test_a_revoked_task_is_ended_where_it_waits(make_daemon: Make, desk: Desk, kind: str, task: str) -> None:
    daemon = started(make_daemon, kind)
    result = daemon.app.send_task(f"waiting.{task}", (desk.port, "q"))
    assert desk.questions(1) == {"q"}

    daemon.ctl("revoke", result.id, "--terminate")

    wait_until(lambda: result.state == "REVOKED", 10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_stop_waits_for_what_waits_and_a_cold_one_gives_it_back(
    make_daemon: Make, desk: Desk, kind: str
) -> None:
    daemon = started(make_daemon, kind)
    result = daemon.app.send_task("waiting.ask", (desk.port, "first"))
    assert desk.questions(1) == {"first"}
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: daemon.row("main-1")["state"] in ("DRAINING", "STOPPING"), 10)
    desk.answer()
    assert daemon.wait_exit() == 0
    assert result.get(timeout=60) == "yes"

    daemon.start()
    result = daemon.app.send_task("waiting.ask", (desk.port, "second"))
    assert desk.questions(1) == {"second"}
    daemon.signal(signal.SIGQUIT)
    daemon.wait_exit()
    desk.close_connections()

    daemon.start()
    assert desk.questions(1) == {"second"}
    desk.answer()
    assert result.get(timeout=60) == "yes"


@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_a_pool_whose_library_is_missing_says_what_to_install(
    make_daemon: Make, tmp_path: Path, kind: str
) -> None:
    (tmp_path / f"{kind}.py").write_text("raise ImportError\n")
    daemon = make_daemon(
        f'[worker.main]\npool = "{kind}"\nenvironment = {{ PYTHONPATH = "{tmp_path}" }}\n', head=_HEAD
    )
    daemon.spawn()

    wait_until(lambda: daemon.rows() and f"taskd[{kind}]" in str(daemon.row("main-1")["detail"]), 10)
