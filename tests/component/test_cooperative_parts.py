"""What the pools of coroutines and greenlets are made of: the shared loop, the executor."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextvars import ContextVar

import pytest

from taskd.execution.native.shared_loop import SharedLoop
from taskd.pools.daemon_executor import DaemonExecutor
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def shared() -> SharedLoop:
    return SharedLoop()  # its thread is a daemon and lives as long as the process, as in a worker


def test_coroutines_of_several_threads_run_in_one_loop_at_once(shared: SharedLoop) -> None:
    both: list[None] = []

    async def meet() -> asyncio.AbstractEventLoop:
        both.append(None)
        while len(both) < 2:
            await asyncio.sleep(0.001)
        return asyncio.get_running_loop()

    loops: list[object] = []
    threads = [threading.Thread(target=lambda: loops.append(shared.run(meet()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(loops) == 2
    assert loops[0] is loops[1]


def test_what_a_coroutine_raises_is_raised_where_its_task_waits(shared: SharedLoop) -> None:
    async def fail(error: BaseException) -> None:
        raise error

    async def on() -> str:
        return "on"

    for error in (ValueError("x"), SystemExit(3), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            shared.run(fail(error))
    assert shared.run(on()) == "on"


def test_a_coroutine_sees_the_context_of_its_caller(shared: SharedLoop) -> None:
    name = ContextVar("name", default="none")
    token = name.set("caller")

    async def look() -> str:
        return name.get()

    assert shared.run(look()) == "caller"
    name.reset(token)


def test_the_executor_uses_an_idle_thread_and_makes_one_when_there_is_none() -> None:
    executor = DaemonExecutor("test-executor")
    gate = threading.Event()
    waiting = [executor.submit(gate.wait, 10) for _ in range(5)]

    ident = executor.submit(threading.get_ident).result(10)
    wait_until(lambda: executor._idle == 1)
    assert executor.submit(threading.get_ident).result(10) == ident

    gate.set()
    assert [future.result(10) for future in waiting] == [True] * 5
    executor.shutdown()
    wait_until(lambda: "test-executor" not in [thread.name for thread in threading.enumerate()])
    with pytest.raises(RuntimeError, match="ended"):
        executor.submit(gate.wait)


def test_the_executor_hands_on_what_a_call_raises() -> None:
    executor = DaemonExecutor("test-executor")
    future: Future[int] = executor.submit(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        future.result(10)
    executor.shutdown()


def test_a_call_that_never_returns_does_not_hold_up_the_exit() -> None:
    code = (
        "import threading; from taskd.pools.daemon_executor import DaemonExecutor;"
        "DaemonExecutor('x').submit(threading.Event().wait)"
    )

    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
