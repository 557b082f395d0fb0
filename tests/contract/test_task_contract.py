"""What a task may do to itself on any pool: whoever waits is answered, and the next task runs."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from taskd.protocol.status import Heartbeat, Ready, StatusLine
from taskd.sending.result import AsyncResult
from tests.system.lone import LoneWorker
from tests.waiting import wait_until

POOLS = ["prefork", "threads", "asyncio", "gevent", "eventlet", "solo"]


@pytest.fixture(scope="module", params=POOLS)
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneWorker]:
    """One worker for each pool, which all tests share: none may spoil it for the next."""
    pool = request.param
    if pool in ("gevent", "eventlet") and find_spec(pool) is None:
        pytest.skip(f"{pool} is not installed")
    made = LoneWorker(tmp_path_factory.mktemp(pool), pool=pool, app="tests.system.contract_app:app")
    made.drained = True
    made.spawn()
    made.until_said(Ready)
    yield made
    made.end()


def send(worker: LoneWorker, task: str, *args: object) -> AsyncResult[object]:
    return worker.app.send_task(f"contract.{task}", args)


def has_ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def is_quiet_and_idle(line: StatusLine) -> bool:
    return isinstance(line, Heartbeat) and line.quiet and not line.busy + line.reserved


def assert_works(worker: LoneWorker) -> None:
    assert send(worker, "add", 2, 3).get(timeout=60) == 5


@pytest.mark.parametrize("kind", ["locked", "mute", "stuck", "sealed", "rude", "closed", "exit", "interrupt"])
def test_an_exception_that_cannot_be_told_is_a_failure_all_the_same(worker: LoneWorker, kind: str) -> None:
    result = send(worker, "fail", kind)
    wait_until(lambda: result.state == "FAILURE", 20)
    assert isinstance(result.info, Exception)

    assert_works(worker)


def test_a_value_that_cannot_be_told_is_a_failure(worker: LoneWorker) -> None:
    with pytest.raises(Exception, match="cannot be stored"):
        send(worker, "unserializable").get(timeout=60)

    assert_works(worker)


def test_a_huge_value_arrives(worker: LoneWorker) -> None:
    assert len(str(send(worker, "huge", 15_000_000).get(timeout=60))) == 15_000_000
    assert_works(worker)


def test_much_that_is_printed_passes(worker: LoneWorker) -> None:
    assert send(worker, "print", 200).get(timeout=60) == 200 << 20
    assert_works(worker)


@pytest.mark.slow
def test_gigabytes_that_are_printed_pass(worker: LoneWorker) -> None:
    assert send(worker, "print", 2048).get(timeout=100) == 2048 << 20
    assert_works(worker)


def test_a_task_that_forks_and_comes_back_twice_is_answered_once(worker: LoneWorker) -> None:
    forked = send(worker, "fork").get(timeout=60)
    assert isinstance(forked, int)
    assert forked != 0
    assert_works(worker)
    wait_until(lambda: has_ended(forked), 10, "the end of the process that the task forked")
    wait_until(lambda: (queue := worker.queue()) and not (queue.ready or queue.claimed), 10)


def test_a_coroutine_runs(worker: LoneWorker) -> None:
    assert send(worker, "add_async", 2, 3).get(timeout=60) == 5


def test_a_task_that_waits_in_a_system_call_keeps_no_other_from_running(worker: LoneWorker) -> None:
    if worker.pool == "solo":
        pytest.skip("one task at a time is what it is for")
    path = worker.directory / "s"
    reading = send(worker, "read", str(path))
    wait_until(path.exists, 20)

    assert_works(worker)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"word")
    assert reading.get(timeout=60) == "word"


def test_a_quiet_worker_finishes_what_runs_and_begins_nothing_until_it_may(worker: LoneWorker) -> None:
    path = worker.directory / "q"
    reading = send(worker, "read", str(path))
    wait_until(path.exists, 20)

    worker.signal(signal.SIGTSTP)
    if worker.pool != "solo":  # which hears nothing while its task runs
        worker.until_logged("quiet=True")
    waiting = send(worker, "add", 2, 3)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"word")
    assert reading.get(timeout=60) == "word"
    wait_until(lambda: any(map(is_quiet_and_idle, worker.said())))
    assert waiting.state == "PENDING"
    assert (queue := worker.queue()) is not None
    assert (queue.ready, queue.claimed) == (1, 0)

    worker.signal(signal.SIGCONT)
    assert waiting.get(timeout=60) == 5


def test_a_task_that_exits_ends_its_child_or_its_worker_and_runs_again(
    worker: LoneWorker, tmp_path: Path
) -> None:
    result = send(worker, "os_exit", str(tmp_path / "mark"))
    if worker.pool != "prefork":
        assert worker.wait_exit(20) == 3
        worker.spawn()
        worker.until_said(Ready)

    assert result.get(timeout=60) == 1
    assert_works(worker)
