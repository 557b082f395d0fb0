"""The ladder of a shutdown: warm, soft, cold; and signals at the worst moments.  Nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from taskd.base import exit_codes
from taskd.protocol.status import Draining, Heartbeat, Ready, Waiting
from tests.signal_windows import signal_at_the_end, signal_at_the_start
from tests.system.lone import LoneWorker
from tests.system.notes import lines
from tests.waiting import wait_until

TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT
#: One signal twice in the same instant may arrive as one; whether it does makes no difference here.
SIGNALS: list[Sequence[signal.Signals]] = [[TERM], [INT], [QUIT], [TERM, TERM], [QUIT, QUIT], [TERM, QUIT]]
#: For what takes seconds each: the gentlest and the harshest in the fast tier.
SOME = [pytest.param(each, marks=[] if each in ([TERM], [QUIT]) else [pytest.mark.slow]) for each in SIGNALS]
names = lambda signals: "-".join(each.name for each in signals)  # noqa: E731

Make = Callable[..., LoneWorker]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[LoneWorker] = []

    def make(**words: Any) -> LoneWorker:
        directory = tmp_path / f"w{len(made)}"
        directory.mkdir()
        made.append(LoneWorker(directory, **words))
        return made[-1]

    yield make
    for each in made:
        each.end()


def hold(worker: LoneWorker, task: str = "shop.hold", count: int = 1) -> tuple[Path, Path]:
    """Send tasks that run until their gate opens, wait until they run, and return notes and gate."""
    notes, gate = worker.directory / "notes", worker.directory / "gate"
    for _ in range(count):
        worker.app.send_task(task, (str(notes), str(gate)))
    wait_until(lambda: len(lines(notes)) == count, 20)
    return notes, gate


def assert_all_back(worker: LoneWorker, count: int) -> None:
    queue = worker.queue()
    assert queue is not None
    assert (queue.ready, queue.claimed, queue.dead) == (count, 0, 0)


# -- signals x phases ------------------------------------------------------------------------------


@pytest.mark.parametrize("signals", SIGNALS, ids=names)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_signal_to_an_idle_worker(make: Make, pool: str, signals: Sequence[signal.Signals]) -> None:
    worker = make(pool=pool)
    worker.spawn()
    worker.until_said(Ready)

    worker.signal(*signals)

    assert worker.wait_exit(10) == exit_codes.OK


@pytest.mark.slow
@pytest.mark.parametrize("signals", SIGNALS, ids=names)
def test_a_signal_at_any_moment_of_the_start(make: Make, signals: Sequence[signal.Signals]) -> None:
    for delay_ms in range(20, 420, 40):
        worker = make()
        worker.app.send_task("shop.add", (1, 2))
        worker.spawn()
        assert worker.process is not None
        with pytest.raises(subprocess.TimeoutExpired):
            worker.process.wait(delay_ms / 1000)

        worker.signal(*signals)

        assert worker.wait_exit(10) == exit_codes.OK, worker.log.read_text()
        queue = worker.queue()
        assert queue is not None
        assert (queue.claimed, queue.dead) == (0, 0)


@pytest.mark.parametrize("number", [TERM, INT, QUIT], ids=lambda each: each.name)
def test_a_signal_before_the_first_line_of_the_worker_ends_it_in_order(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals
) -> None:
    signal_at_the_start(monkeypatch, tmp_path, "taskd.worker", number)
    worker = make()
    worker.app.send_task("shop.add", (1, 2))

    worker.spawn()

    assert worker.wait_exit(10) == exit_codes.OK, worker.log.read_text()
    assert_all_back(worker, 1)


def test_a_worker_that_is_put_to_rest_before_its_first_line_rests(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signal_at_the_start(monkeypatch, tmp_path, "taskd.worker", signal.SIGTSTP)
    worker = make()

    worker.spawn()

    wait_until(lambda: any(isinstance(line, Heartbeat) and line.quiet for line in worker.said()))


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_signal_after_the_last_handler_does_not_change_the_exit_status(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pool: str
) -> None:
    signal_at_the_end(monkeypatch, tmp_path, "taskd.worker", TERM)
    worker = make(pool=pool, app="tests.system.stubborn_app:app")
    worker.spawn()
    worker.until_said(Ready)
    hold(worker, "stubborn.asleep")  # the thread stays to the last, and a signal may take it

    worker.signal(QUIT)

    assert worker.wait_exit(10) == exit_codes.OK
    assert_all_back(worker, 1)


@pytest.mark.parametrize("signals", SIGNALS, ids=names)
def test_a_signal_while_the_task_code_is_imported(make: Make, signals: Sequence[signal.Signals]) -> None:
    worker = make(app="tests.system.slow_import:app")
    worker.app.send_task("slow_import.add", (1, 2))
    worker.spawn()
    worker.until_logged("importing")

    worker.signal(*signals)

    assert worker.wait_exit(10) == exit_codes.OK
    assert_all_back(worker, 1)


@pytest.mark.parametrize("signals", SIGNALS, ids=names)
def test_a_signal_before_the_first_connection(make: Make, signals: Sequence[signal.Signals]) -> None:
    worker = make()
    worker.store.rmdir()
    worker.store.write_text("in the way")
    worker.spawn()
    worker.until_said(Waiting)

    worker.signal(*signals)

    assert worker.wait_exit(10) == exit_codes.OK


@pytest.mark.parametrize("signals", SOME, ids=names)
def test_a_signal_while_the_broker_is_away_and_a_task_runs(
    make: Make, signals: Sequence[signal.Signals]
) -> None:
    worker = make(stop_timeout="2s", keys='lease = "1s"')
    worker.spawn()
    worker.until_said(Ready)
    notes, gate = hold(worker)
    with worker.broker_locked():
        worker.until_said(Waiting)

        worker.signal(*signals)

        # Nobody can be told what became of the task: it ends with the worker, at stop_timeout at the latest.
        assert worker.wait_exit(10) == exit_codes.OK
    gate.touch()
    worker.spawn()
    wait_until(lambda: len(lines(notes)) == 2, 20)
    wait_until(lambda: (queue := worker.queue()) and not (queue.ready or queue.claimed), 20)


def test_a_warm_stop_without_a_broker_settles_when_it_is_back(make: Make) -> None:
    worker = make(keys='lease = "1s"')
    worker.spawn()
    worker.until_said(Ready)
    notes, gate = hold(worker)
    with worker.broker_locked():
        worker.until_said(Waiting)
        worker.signal(TERM)
        gate.touch()
        worker.until_said(Waiting, times=2)

    assert worker.wait_exit() == exit_codes.OK
    assert_all_back(worker, 0)
    assert len(lines(notes)) == 1


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "gevent"])
def test_term_to_a_busy_worker_lets_the_task_end(make: Make, pool: str) -> None:
    worker = make(pool=pool)
    worker.spawn()
    worker.until_said(Ready)
    _, gate = hold(worker)
    worker.app.send_task("shop.add", (1, 2), countdown=60)

    worker.signal(TERM)
    worker.until_said(Draining)
    gate.touch()

    assert worker.wait_exit() == exit_codes.OK
    queue = worker.queue()
    assert queue is not None
    assert (queue.ready, queue.delayed, queue.claimed) == (0, 1, 0)


@pytest.mark.parametrize("signals", [[QUIT], [TERM, INT], [TERM, QUIT], [QUIT, TERM]], ids=names)
@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "gevent"])
def test_a_cold_stop_of_a_busy_worker_gives_its_tasks_back_and_lists_them(
    make: Make, pool: str, signals: Sequence[signal.Signals]
) -> None:
    worker = make(pool=pool, app="tests.system.stubborn_app:app")
    worker.spawn()
    worker.until_said(Ready)
    hold(worker, "stubborn.deaf", count=2)

    worker.signal(*signals)

    assert worker.wait_exit(10) == exit_codes.OK
    assert_all_back(worker, 2)
    assert worker.log.read_text().count("unfinished at shutdown after running") == 2


@pytest.mark.parametrize("second", [TERM, INT, QUIT], ids=lambda each: each.name)
def test_a_second_signal_while_draining(make: Make, second: signal.Signals) -> None:
    worker = make()
    worker.spawn()
    worker.until_said(Ready)
    hold(worker, count=2)
    worker.signal(TERM)
    worker.until_said(Draining)

    worker.signal(second)

    assert worker.wait_exit(10) == exit_codes.OK
    assert_all_back(worker, 2)


@pytest.mark.parametrize("third", [TERM, INT, QUIT], ids=lambda each: each.name)
def test_signals_while_a_cold_stop_is_under_way_change_nothing(make: Make, third: signal.Signals) -> None:
    worker = make()
    worker.spawn()
    worker.until_said(Ready)
    hold(worker, count=2)
    worker.signal(QUIT)

    assert worker.process is not None
    while worker.process.poll() is None:
        worker.signal(third)

    assert worker.wait_exit(10) == exit_codes.OK
    assert_all_back(worker, 2)


def test_a_draining_worker_goes_on_reporting(make: Make) -> None:
    worker = make()
    worker.spawn()
    worker.until_said(Ready)
    _, gate = hold(worker)
    worker.signal(TERM)
    worker.until_said(Draining)

    beats = sum(isinstance(line, Heartbeat) for line in worker.said())
    worker.until_said(Heartbeat, times=beats + 2)
    gate.touch()

    assert worker.wait_exit() == exit_codes.OK


# -- the ladder --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "gevent"])
def test_tasks_are_asked_to_end_and_what_they_did_not_finish_goes_back(make: Make, pool: str) -> None:
    worker = make(
        pool=pool,
        stop_timeout="60s",
        keys='soft_shutdown_timeout = "59.5s"',
        app="tests.system.stubborn_app:app",
    )
    worker.spawn()
    worker.until_said(Ready)
    notes, gate = hold(worker, "stubborn.polite")
    hold_thorough = worker.app.send_task("stubborn.thorough", (str(notes), str(gate)))
    wait_until(lambda: len(lines(notes)) == 2, 20)

    worker.signal(TERM)

    assert worker.wait_exit(20) == exit_codes.OK
    assert lines(notes).count("asked") == 2
    assert hold_thorough.get(timeout=60) == "finished early"
    assert_all_back(worker, 1)
    gate.touch()
    worker.spawn()
    wait_until(lambda: (queue := worker.queue()) and not (queue.ready or queue.claimed), 20)


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "gevent"])
def test_what_does_not_end_when_asked_is_ended_at_stop_timeout(make: Make, pool: str) -> None:
    worker = make(
        pool=pool,
        stop_timeout="1.5s",
        keys='soft_shutdown_timeout = "1s"',
        app="tests.system.stubborn_app:app",
    )
    worker.spawn()
    worker.until_said(Ready)
    notes, _ = hold(worker, "stubborn.deaf")
    began = time.monotonic()

    worker.signal(TERM)

    assert worker.wait_exit(20) == exit_codes.OK
    assert time.monotonic() - began >= 1.4
    assert "asked" in lines(notes)
    assert "stop_timeout is over" in worker.log.read_text()
    assert_all_back(worker, 1)
