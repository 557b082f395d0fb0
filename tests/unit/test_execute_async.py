"""One execution in a running asyncio loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from taskd import App
from taskd.app.bound import BoundTask
from taskd.app.control_flow import Reject
from taskd.app.task import Sendable
from taskd.base.errors import SoftTimeLimitExceeded
from taskd.execution.native.execute import Executor
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Assignment, End, Reply, decode_reply, encode
from taskd.protocol.results import decode_record
from taskd.sending.calls import build_message
from tests.unit.executing import Hostile

LIMIT = SoftTimeLimitExceeded("1 s")


def payload(task: Sendable[Any, Any], *args: object) -> bytes:
    message = build_message(task.settings, args, {}, task_id="i")
    return encode(
        Assignment(Delivery(1, "q", "i", message.headers, message.body, correlation_id="i", routing_key="q"))
    )


def run(app: App, task: Sendable[Any, Any], *args: object) -> Reply:
    return decode_reply(asyncio.run(Executor(app, "w@h").acall(payload(task, *args))))


def run_until(app: App, task: Sendable[Any, Any], begun: threading.Event, reason: object) -> Reply:
    """Run the task and cancel it with ``reason`` when it has begun."""

    async def main() -> bytes:
        running = asyncio.ensure_future(Executor(app, "w@h").acall(payload(task)))
        await asyncio.to_thread(begun.wait, 10)
        running.cancel(reason)
        return await running

    return decode_reply(asyncio.run(main()))


def error_of(reply: Reply) -> Exception:
    error = decode_record(reply.record).exception()
    assert error is not None
    return error


def test_an_async_task_runs_in_the_loop_of_the_caller(app: App) -> None:
    loops = []

    @app.task(bind=True, name="crawl")
    async def crawl(self: BoundTask, url: str) -> list[str]:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return [self.request.id, url]

    async def main() -> None:
        reply = decode_reply(await Executor(app, "w@h").acall(payload(crawl, "x")))
        assert decode_record(reply.record).value() == ["i", "x"]
        assert loops == [asyncio.get_running_loop()]
        assert app.current_request() is None

    asyncio.run(main())


def test_async_tasks_run_beside_one_another(app: App) -> None:
    waiting: list[asyncio.Future[None]] = []

    @app.task(name="meet")
    async def meet() -> str:
        waiting.append(asyncio.get_running_loop().create_future())
        if len(waiting) == 2:
            for each in waiting:
                each.set_result(None)
        await waiting[0]
        return "met"

    async def main() -> Sequence[bytes]:
        execute = Executor(app, "w@h").acall
        return await asyncio.wait_for(asyncio.gather(execute(payload(meet)), execute(payload(meet))), 60)

    assert [decode_reply(reply).text for reply in asyncio.run(main())] == ["'met'", "'met'"]


def test_a_plain_task_runs_in_a_thread_with_the_request_and_the_context(app: App) -> None:
    colour: ContextVar[str] = ContextVar("colour")

    @app.task(bind=True, name="look")
    def look(self: BoundTask) -> list[object]:
        return [self.request.id, colour.get(), threading.get_ident()]

    async def main() -> bytes:
        colour.set("red")
        return await Executor(app, "w@h").acall(payload(look))

    value = decode_record(decode_reply(asyncio.run(main())).record).value()

    assert isinstance(value, list)
    assert value[:2] == ["i", "red"]
    assert value[2] != threading.get_ident()


def test_a_plain_function_that_returns_a_coroutine_is_awaited_in_the_loop(app: App) -> None:
    async def inner() -> str:
        return type(asyncio.get_running_loop()).__name__

    @app.task(name="outer")
    def outer() -> Coroutine[Any, Any, str]:
        return inner()

    assert "EventLoop" in run(app, outer).text


@pytest.mark.parametrize("error", [ValueError, StopIteration, Hostile])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_exception_is_a_failure_with_the_users_traceback_alone(
    app: App, kind: str, error: type[Exception]
) -> None:
    def fail() -> None:
        raise error(object())

    async def afail() -> None:
        fail()

    reply = run(app, app.task(name="t")(fail if kind == "plain" else afail))

    assert reply.end is End.FAILED
    # Python itself turns a StopIteration that leaves a coroutine into a RuntimeError.
    turned = kind == "async" and error is StopIteration
    assert isinstance(error_of(reply), RuntimeError if turned else error)
    assert "in fail" in reply.traceback
    assert turned or "taskd/worker" not in reply.traceback


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_task_cannot_end_the_loop(app: App, kind: str, error: type[BaseException]) -> None:
    def leave() -> None:
        raise error

    async def aleave() -> None:
        raise error

    reply = run(app, app.task(name="t")(leave if kind == "plain" else aleave))

    assert "tried to end its process" in reply.text


def test_what_cannot_be_stored_or_called_is_a_failure(app: App) -> None:
    @app.task(name="odd")
    async def odd() -> object:
        return {1, 2}

    @app.task(name="one", retry_for=(Exception,))
    def one(x: int) -> None: ...

    assert "builtins.set" in run(app, odd).text
    assert run(app, one, 1, 2).end is End.FAILED


def test_a_rejection_is_one_here_too(app: App) -> None:
    @app.task(name="t")
    async def task() -> None:
        raise Reject("never")

    assert run(app, task).end is End.REJECTED


@pytest.mark.parametrize("handle", [False, True])
def test_the_soft_limit_is_a_cancellation_to_a_coroutine(app: App, handle: bool) -> None:
    begun = threading.Event()

    @app.task(name="slow")
    async def slow() -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if not handle:
                raise
        return "cleaned up"

    reply = run_until(app, slow, begun, LIMIT)

    if handle:
        assert decode_record(reply.record).value() == "cleaned up"
    else:
        assert isinstance(error_of(reply), SoftTimeLimitExceeded)


def test_the_soft_limit_is_known_again_below_another_cancellation(app: App) -> None:
    begun = threading.Event()

    @app.task(name="slow")
    async def slow() -> None:
        begun.set()
        try:
            await asyncio.gather(asyncio.sleep(60))
        except asyncio.CancelledError:
            raise asyncio.CancelledError from None

    assert isinstance(error_of(run_until(app, slow, begun, LIMIT)), SoftTimeLimitExceeded)


def spin() -> None:
    """Run bytecodes until an exception strikes.

    On its own: Python 3.13 raises at the jump back of a loop, which no ``try`` of the same frame may cover.
    """
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        pass


def test_the_soft_limit_is_the_exception_itself_in_a_thread(app: App) -> None:
    begun, seen = threading.Event(), threading.Event()

    @app.task(name="slow")
    def slow() -> str:
        begun.set()
        try:
            spin()
        except SoftTimeLimitExceeded:
            seen.set()
            raise
        return "never interrupted"

    assert isinstance(error_of(run_until(app, slow, begun, LIMIT)), SoftTimeLimitExceeded)
    assert seen.is_set()


def test_the_soft_limit_of_a_task_that_waits_for_a_thread_keeps_it_from_running(app: App) -> None:
    ran = []

    @app.task(name="quick")
    def quick() -> None:
        ran.append(True)

    async def main() -> bytes:
        from concurrent.futures import ThreadPoolExecutor

        loop = asyncio.get_running_loop()
        gate, busy = threading.Event(), threading.Event()

        def occupy() -> None:
            busy.set()
            gate.wait(60)

        with ThreadPoolExecutor(1) as threads:
            loop.set_default_executor(threads)
            first = loop.run_in_executor(None, occupy)
            running = asyncio.ensure_future(Executor(app, "w@h").acall(payload(quick)))
            await asyncio.sleep(0)  # lets it begin
            while not busy.is_set():
                await asyncio.sleep(0)
            running.cancel(LIMIT)
            await asyncio.sleep(0)
            gate.set()
            await first
            return await running

    reply = decode_reply(asyncio.run(main()))

    assert isinstance(error_of(reply), SoftTimeLimitExceeded)
    assert ran == []


def test_any_other_cancellation_gives_the_thread_up(app: App) -> None:
    begun, gate = threading.Event(), threading.Event()

    @app.task(name="stuck")
    def stuck() -> None:
        begun.set()
        gate.wait(60)

    async def main() -> bytes:
        running = asyncio.ensure_future(Executor(app, "w@h").acall(payload(stuck)))
        await asyncio.to_thread(begun.wait, 10)
        running.cancel()
        try:
            return await asyncio.wait_for(asyncio.shield(running), 60)
        finally:
            gate.set()

    assert "ended from outside" in decode_reply(asyncio.run(main())).text
