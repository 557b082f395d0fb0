"""prefork starts whatever the task code imports: the import is shared where that is safe."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskd.pools.base import ChildLost, Done, Job
from taskd.pools.opening import ChildLimits
from tests.component.pool_runner import Runner


def preloaded(runner: Runner) -> object:
    return runner.pool.info().details["preloaded"]


@pytest.fixture
def grpc_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import grpc

    class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
        def service(self, _details: object) -> object:
            return grpc.unary_unary_rpc_method_handler(lambda request, _context: request)

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Echo(),))
    monkeypatch.setenv("GRPC_SERVER", str(tmp_path / "grpc.sock"))
    server.add_insecure_port(f"unix:{tmp_path}/grpc.sock")
    server.start()
    yield
    server.stop(None).wait()


@pytest.mark.usefixtures("grpc_server")
@pytest.mark.parametrize(
    ("library", "is_shared", "result"),
    [
        ("numpy", True, b"400"),
        ("pandas", True, b"3"),
        ("grpc", False, b"heard"),
        ("sentry", True, b"True"),
        ("otel", False, b"True"),
        ("queue-listener", False, b"True"),
        ("gevent", True, b"2"),
        ("uvloop", True, b"uvloop"),
        ("uvloop-loop", False, b"slept"),
        ("asyncio-loop", False, b"slept"),
    ],
)
def test_task_code_with_a_difficult_library_runs(library: str, is_shared: bool, result: bytes) -> None:
    runner = Runner(mode=library, program="tests.component.library_template")
    try:
        runner.until(lambda: runner.pool.ready or runner.failures, timeout_s=60.0)
        runner.submit(*[b"use"] * 6)
        outcomes = runner.until_outcomes(6, timeout_s=60.0)
    finally:
        runner.close()

    assert [getattr(outcome, "reply", outcome) for outcome in outcomes] == [result] * 6
    assert runner.hellos == [b"hello"]
    assert preloaded(runner) is is_shared


@pytest.mark.parametrize(
    ("mode", "preload", "reason"),
    [
        ("thread", "auto", "metrics-pusher"),
        ("late-thread", "auto", "metrics-pusher"),
        ("plain", "false", 'preload = "false"'),
    ],
)
def test_each_child_loads_for_itself_and_the_cost_is_said_once(
    mode: str, preload: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    runner = Runner(mode=mode, preload=preload)
    try:
        runner.until_ready()
        assert preloaded(runner) is False
        runner.submit(b"os-exit 1", b"echo a", b"os-exit 1", b"echo b")
        outcomes = runner.until_outcomes(4)
        runner.until(lambda: runner.pool.slots == 2)
    finally:
        runner.close()

    assert [type(outcome) for outcome in outcomes] == [ChildLost, Done, ChildLost, Done]
    said = [record.getMessage() for record in caplog.records if "each child imports" in record.getMessage()]
    assert len(said) == 1
    assert reason in said[0]
    assert "start_ms=" in said[0]


def test_code_that_loads_only_once_is_a_failure_with_what_the_child_said() -> None:
    runner = Runner(mode="only-once")
    try:
        runner.until(lambda: runner.failures)
        reason, detail = runner.failures[0]
    finally:
        runner.close()

    assert reason == "the task code loads, but not again in a child"
    assert "ImportError: no licence left" in detail


def test_a_child_that_loads_for_itself_gets_its_heir_before_it_has_had_all_its_jobs(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    runner = Runner(capacity=1, mode="slow-thread", limits=ChildLimits(max_tasks=10))
    try:
        runner.until_ready()
        jobs = [b"sleep 0.1"] * 7 + [b"wait-for " + bytes(gate)]
        runner.pool.submit([Job(tag, job) for tag, job in enumerate(jobs)])
        runner.until(lambda: any(child.heir for child in runner.pool.info().children))
        assert len(runner.outcomes) < 8
        gate.touch()
        runner.until_outcomes(8)
    finally:
        runner.close()


def test_a_pool_that_gets_no_more_children_works_with_those_it_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    runner = Runner(capacity=3, mode="few-forks")
    try:
        runner.until_ready()
        assert runner.pool.slots == 2
        runner.submit(b"pid", b"pid", b"pid")
        assert len({outcome.reply for outcome in runner.until_outcomes(3) if isinstance(outcome, Done)}) == 2
        assert "2 of 3 are there; fork: Resource temporarily unavailable; no limit" in caplog.text
        (path,) = runner.hellos
        Path(path.decode()).touch()  # there is room again
        runner.until(lambda: runner.pool.slots == 3)
        assert "all 3 children are there" in caplog.text
    finally:
        runner.close()


@pytest.mark.parametrize(
    ("preload", "rehearsed"), [("auto", b"template"), ("true", b"template"), ("false", b"")]
)
def test_the_template_rehearses_once_before_it_forks(preload: str, rehearsed: bytes) -> None:
    runner = Runner(mode="rehearsed", preload=preload)
    try:
        runner.until_ready()
        runner.submit(b"rehearsed", b"os-exit 1", b"rehearsed")
        outcomes = runner.until_outcomes(3)
    finally:
        runner.close()

    assert [outcome.reply for outcome in outcomes if isinstance(outcome, Done)] == [rehearsed] * 2
