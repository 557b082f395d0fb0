"""What every pool promises; where one cannot do a thing, what it does instead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import pytest

from taskd.base import clock
from taskd.base.errors import PoolError
from taskd.config.built_in import POOLS
from taskd.config.choosing import pool_kind
from taskd.config.kinds import PoolTrait
from taskd.pools.base import Broken, Cancelled, ChildLost, Done, Job, Outcome, TimedOut
from tests.component.pool_runner import ROOT, Runner

#: A process is patched for all its life: for the green pools a test at the end runs this file in one.
GREEN = [name for name, kind in POOLS.items() if kind.entry != POOLS["prefork"].entry]
PATCHED_FOR = os.environ.get("TASKD_TEST_PATCHED_FOR", "")
#: The name of a pool of another package, which is then tested alone.
THEIRS = os.environ.get("TASKD_TEST_POOL", "")
KINDS = list(filter(None, (PATCHED_FOR, THEIRS))) or [name for name in POOLS if name not in GREEN]
_RECORDS = {name: pool_kind(name) for name in KINDS}
PARALLEL = [name for name, kind in _RECORDS.items() if kind.most_slots != 1]
IN_PROCESS = [name for name, kind in _RECORDS.items() if PoolTrait.CHILDREN not in kind.traits]
COOPERATIVE = [
    name for name in IN_PROCESS if name in PARALLEL and PoolTrait.RESIZABLE not in _RECORDS[name].traits
]

Start = Callable[..., Runner]


@pytest.fixture
def start() -> Iterator[Start]:
    runners: list[Runner] = []

    def start(kind: str, **options: Any) -> Runner:
        runners.append(Runner(kind, **options))
        runners[-1].until_ready()
        return runners[-1]

    yield start
    for runner in runners:
        runner.close()


def replies(runner: Runner, count: int) -> list[bytes]:
    outcomes = runner.until_outcomes(count)
    assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
    return [outcome.reply for outcome in outcomes if isinstance(outcome, Done)]


@pytest.mark.parametrize("kind", KINDS)
def test_on_ready_is_called_once_and_the_pool_is_empty_then(kind: str, start: Start) -> None:
    runner = start(kind)

    runner.submit(b"noop")
    runner.until_outcomes(1)

    assert runner.readies == 1
    assert runner.pool.held == 0
    assert list(runner.pool.running()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("expected_s", [0.0, 0.00001])
def test_every_job_gets_one_outcome_with_its_own_reply(kind: str, expected_s: float, start: Start) -> None:
    runner = start(kind)

    runner.submit(*(b"echo %d" % number for number in range(1000)), expected_s=expected_s)

    assert replies(runner, 1000) == [b"%d" % number for number in range(1000)]
    runner.loop.run_once(0.05)
    assert len(runner.outcomes) == 1000


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_short_jobs_pass(kind: str, start: Start) -> None:
    runner = start(kind)

    runner.submit(*[b"noop"] * 10_000, expected_s=0.00001)

    assert replies(runner, 10_000) == [b""] * 10_000
    assert runner.pool.held == 0


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_submitted_from_on_outcomes_are_run(kind: str, start: Start) -> None:
    runner = start(kind, capacity=1)

    def submit_next(outcomes: Sequence[Outcome]) -> None:
        runner.outcomes.extend(outcomes)
        if len(runner.outcomes) < 3000:
            runner.pool.submit([Job(len(runner.outcomes), b"noop")])

    runner.on_outcomes = submit_next
    runner.submit(b"noop")

    runner.until_outcomes(3000)  # a pool that recursed would have overflowed the stack
    assert [outcome.tag for outcome in runner.outcomes] == list(range(3000))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("payload", "evidence"),
    [
        (b"raise it burns", "ValueError: it burns"),
        (b"system-exit", "SystemExit: 3"),
        (b"not-bytes", "NoneType"),
    ],
)
def test_a_target_that_fails_breaks_its_job_only(
    kind: str, payload: bytes, evidence: str, start: Start
) -> None:
    runner = start(kind)

    runner.submit(payload, b"echo on")

    broken, done = runner.until_outcomes(2)
    assert isinstance(broken, Broken)
    assert evidence in broken.traceback
    assert isinstance(done, Done)
    assert done.reply == b"on"


@pytest.mark.parametrize("kind", KINDS)
def test_fifty_megabytes_go_in_and_out(kind: str, start: Start) -> None:
    runner = start(kind)
    body = os.urandom(1000) * 50_000

    runner.submit(b"echo " + body, b"huge 50000000", b"echo small")

    echoed, huge, small = replies(runner, 3)
    assert echoed == body
    assert len(huge) == 50_000_000
    assert small == b"small"


@pytest.mark.parametrize("kind", PARALLEL)
def test_a_waiting_job_is_cancelled_without_having_started(kind: str, start: Start, tmp_path: Path) -> None:
    runner = start(kind, capacity=1)
    gate = tmp_path / "gate"
    runner.submit(b"wait-for " + bytes(gate), b"echo never", b"echo last")

    assert runner.pool.cancel(1, signal.SIGTERM)

    assert runner.until_outcomes(1) == [Cancelled(1, started=False)]
    gate.write_bytes(b"open")
    assert [type(outcome) for outcome in runner.until_outcomes(3)] == [Done, Cancelled, Done]


def test_solo_cancels_a_job_that_waits_when_asked_from_on_outcomes(start: Start) -> None:
    runner = start("solo")

    def cancel_the_second(outcomes: Sequence[Outcome]) -> None:
        runner.outcomes.extend(outcomes)
        if len(runner.outcomes) == 1:
            assert runner.pool.cancel(1, signal.SIGTERM)

    runner.on_outcomes = cancel_the_second
    runner.submit(b"noop", b"echo never", b"noop")

    assert runner.until_outcomes(3)[1] == Cancelled(1, started=False)


@pytest.mark.parametrize("kind", PARALLEL)
def test_a_running_job_is_cancelled_and_its_slot_is_usable_again(kind: str, start: Start) -> None:
    runner = start(kind, capacity=1)
    runner.submit(b"spin 60")
    runner.until(lambda: [running.tag for running in runner.pool.running()] == [0])

    assert runner.pool.cancel(0, signal.SIGTERM)

    assert runner.until_outcomes(1) == [Cancelled(0, started=True)]
    runner.outcomes.clear()
    runner.submit(b"echo again")
    assert replies(runner, 1) == [b"again"]


@pytest.mark.parametrize("kind", PARALLEL)
def test_a_running_job_is_left_alone_when_only_a_waiting_one_was_meant(
    kind: str, start: Start, tmp_path: Path
) -> None:
    runner = start(kind, capacity=1)
    gate = tmp_path / "gate"
    runner.submit(b"wait-for " + bytes(gate))
    runner.until(lambda: [running.tag for running in runner.pool.running()] == [0])

    assert runner.pool.cancel(0, 0)
    gate.write_bytes(b"open")

    assert [type(outcome) for outcome in runner.until_outcomes(1)] == [Done]


@pytest.mark.parametrize("kind", KINDS)
def test_cancelling_a_job_that_is_not_there_finds_nothing(kind: str, start: Start) -> None:
    assert start(kind).pool.cancel(77, signal.SIGTERM) is False


@pytest.mark.parametrize("kind", PARALLEL)
def test_the_soft_limit_is_raised_in_the_job(kind: str, start: Start) -> None:
    runner = start(kind)

    began = clock.monotonic()
    runner.submit(b"spin-soft 60", b"spin 60", soft_limit_s=0.1)

    handled, unhandled = runner.until_outcomes(2)
    assert isinstance(handled, Done)
    assert handled.reply == b"soft"
    # A limit may strike a little early by the clock of the pool (eventlet reads it once a turn).
    assert clock.monotonic() - began >= 0.05
    assert handled.runtime_s < 30.0
    assert isinstance(unhandled, Broken)
    assert "SoftTimeLimitExceeded" in unhandled.traceback


@pytest.mark.parametrize("kind", PARALLEL)
def test_a_running_job_can_be_asked_to_end_and_a_waiting_one_is_left_alone(kind: str, start: Start) -> None:
    runner = start(kind, capacity=1)
    runner.submit(b"spin-soft 60", b"echo next")
    runner.until(lambda: [running.tag for running in runner.pool.running()] == [0])

    assert not runner.pool.soften(1)
    assert not runner.pool.soften(77)
    assert runner.pool.soften(0)

    assert replies(runner, 2) == [b"soft", b"next"]


@pytest.mark.parametrize("kind", [kind for kind in PARALLEL if kind not in GREEN])
def test_a_job_in_c_code_is_ended_or_given_up_by_kill(kind: str, start: Start) -> None:
    runner = start(kind, capacity=1)
    runner.submit(b"sleep 3" if kind != "prefork" else b"sleep 60")
    runner.until(lambda: [running.tag for running in runner.pool.running()] == [0])

    assert runner.pool.cancel(0, signal.SIGKILL)

    # One that was waited for would be done.
    assert runner.until_outcomes(1) == [Cancelled(0, started=True)]
    runner.outcomes.clear()
    runner.submit(b"echo again")
    assert replies(runner, 1) == [b"again"]


def test_solo_can_not_ask_a_job_to_end(start: Start) -> None:
    assert start("solo").pool.soften(0) is False


# An exception for a thread may strike in a callback of the interpreter's, which drops and reports it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_soft_limit_that_does_not_pass_disturbs_no_later_job(kind: str, start: Start) -> None:
    runner = start(kind, capacity=1)
    runner.submit(*[b"noop"] * 50, soft_limit_s=0.05)
    runner.until_outcomes(50)
    runner.outcomes.clear()

    runner.submit(b"spin-soft 0.2")

    assert replies(runner, 1) == [b"spun"]


@pytest.mark.parametrize("kind", PARALLEL)
@pytest.mark.parametrize("payload", [b"spin 60", b"sleep 60"])
def test_the_hard_limit_ends_a_job_even_in_c_code(kind: str, payload: bytes, start: Start) -> None:
    if kind in ("threads", "asyncio") and payload == b"sleep 60":
        payload = b"sleep 3"  # its thread is abandoned and sleeps on beside the test run
    runner = start(kind, capacity=1)
    began = time.monotonic()
    runner.submit(payload, hard_limit_s=0.2)

    assert runner.until_outcomes(1) == [TimedOut(0, 0.2)]

    assert time.monotonic() - began >= 0.15
    runner.outcomes.clear()
    runner.submit(b"echo again")
    assert replies(runner, 1) == [b"again"]


def test_solo_ignores_limits(start: Start) -> None:
    runner = start("solo")

    runner.submit(b"spin 0.2", soft_limit_s=0.05, hard_limit_s=0.1)

    assert replies(runner, 1) == [b"spun"]


@pytest.mark.parametrize("kind", PARALLEL)
def test_resizing_changes_how_many_jobs_run_at_once(kind: str, start: Start, tmp_path: Path) -> None:
    runner = start(kind, capacity=1)
    gate = tmp_path / "gate"
    runner.submit(*[b"wait-for " + bytes(gate)] * 3)

    runner.pool.resize(3)
    runner.until(lambda: len(runner.pool.running()) == 3)

    runner.pool.resize(1)
    gate.write_bytes(b"open")
    runner.until_outcomes(3)
    runner.until(lambda: slots_of(runner) == 1)
    runner.outcomes.clear()
    runner.submit(b"echo one", b"echo two")
    assert replies(runner, 2) == [b"one", b"two"]
    assert runner.pool.info().max_concurrency == 1


def slots_of(runner: Runner) -> int:
    info = runner.pool.info()
    slots = info.details.get("threads", info.details.get("running"))
    return len(info.processes) if slots is None else max(1, int(str(slots)))


@pytest.mark.parametrize("kind", PARALLEL)
def test_recalled_jobs_get_no_outcome(kind: str, start: Start, tmp_path: Path) -> None:
    runner = start(kind, capacity=1)
    gate = tmp_path / "gate"
    runner.submit(b"wait-for " + bytes(gate), b"noop", b"noop")
    runner.until(lambda: len(runner.pool.running()) == 1)

    assert list(runner.pool.recall()) == [1, 2]

    assert runner.pool.held == 1
    gate.write_bytes(b"open")
    runner.until_outcomes(1)
    runner.loop.run_once(0.05)
    assert [outcome.tag for outcome in runner.outcomes] == [0]


@pytest.mark.skipif("solo" not in KINDS, reason="in a process that is patched for another pool")
def test_solo_recalls_what_waits_when_asked_from_on_outcomes(start: Start) -> None:
    runner = start("solo")
    recalled: list[int] = []

    def recall(outcomes: Sequence[Outcome]) -> None:
        runner.outcomes.extend(outcomes)
        recalled.extend(runner.pool.recall())

    runner.on_outcomes = recall
    runner.submit(b"noop", b"noop", b"noop")

    runner.until(lambda: runner.pool.held == 0)
    assert sorted(recalled + [outcome.tag for outcome in runner.outcomes]) == [0, 1, 2]
    assert recalled


@pytest.mark.parametrize("kind", KINDS)
def test_stop_finishes_what_is_held_and_takes_nothing_new(kind: str, start: Start) -> None:
    runner = start(kind)
    runner.submit(*[b"echo x"] * 20)

    runner.stop(within_s=20.0)

    assert replies(runner, 20) == [b"x"] * 20
    with pytest.raises(PoolError, match="stopping"):
        runner.submit(b"noop")


@pytest.mark.parametrize("kind", PARALLEL)
def test_stop_ends_at_its_deadline(kind: str, start: Start) -> None:
    runner = start(kind)
    runner.submit(b"spin 60", b"spin 60", b"noop")
    runner.until(lambda: len(runner.pool.running()) == 2)

    runner.stop(within_s=0.2)

    # Jobs that were waited for would have outcomes.
    assert runner.outcomes == []
    assert runner.pool.held == 0


@pytest.mark.parametrize("kind", PARALLEL)
def test_kill_ends_at_once_and_reports_nothing(kind: str, start: Start) -> None:
    runner = start(kind)
    runner.submit(b"spin 60", b"noop", b"spin 60", b"noop")
    runner.until(lambda: len(runner.pool.running()) == 2)
    runner.outcomes.clear()

    runner.pool.kill()
    runner.until(lambda: runner.pool.stopped)

    runner.loop.run_once(0.05)
    assert runner.outcomes == []


@pytest.mark.parametrize("kind", KINDS)
def test_kill_may_be_called_from_on_outcomes(kind: str, start: Start) -> None:
    runner = start(kind)

    def kill(outcomes: Sequence[Outcome]) -> None:
        runner.outcomes.extend(outcomes)
        runner.pool.kill()

    runner.on_outcomes = kill
    runner.submit(*[b"noop"] * 100)
    runner.until(lambda: runner.pool.stopped)

    assert runner.outcomes


# -- pools whose jobs must let each other run -----------------------------------------------


@pytest.mark.parametrize("kind", COOPERATIVE)
@pytest.mark.parametrize("how", ["hard limit", "cancel"])
def test_a_job_that_swallows_its_end_is_given_up(kind: str, how: str, start: Start, tmp_path: Path) -> None:
    runner = start(kind, capacity=1)
    gate = tmp_path / "gate"
    runner.submit(b"stubborn " + bytes(gate), hard_limit_s=0.1 if how == "hard limit" else 0.0)
    runner.until(runner.pool.running)
    if how == "cancel":
        assert runner.pool.cancel(0, signal.SIGTERM)
        runner.loop.run_once(0.05)
        assert runner.pool.held == 1
        assert runner.pool.cancel(0, signal.SIGKILL)

    ended = TimedOut(0, 0.1) if how == "hard limit" else Cancelled(0, started=True)
    assert runner.until_outcomes(1) == [ended]

    assert runner.pool.info().details["abandoned"] == 1
    gate.write_bytes(b"open")
    runner.until(lambda: runner.pool.info().details["abandoned"] == 0)
    runner.submit(b"echo next")
    assert replies_after(runner, 1) == [b"next"]


def replies_after(runner: Runner, count: int) -> list[bytes]:
    """The replies to what was submitted after the first ``count`` outcomes."""
    runner.until(lambda: len(runner.outcomes) > count)
    return [outcome.reply for outcome in runner.outcomes[count:] if isinstance(outcome, Done)]


@pytest.mark.parametrize("kind", COOPERATIVE)
def test_each_job_ends_once_under_random_limits_and_cancels(kind: str, start: Start) -> None:
    runner = start(kind, capacity=50)
    random = Random(7)
    jobs = [
        Job(
            tag,
            random.choice([b"noop", b"spin 0.002", b"spin-soft 0.002", b"spin-soft 30"]),
            soft_limit_s=random.choice([0.001, 0.002, 0.005]),
            hard_limit_s=random.choice([0.0, 0.002, 0.01]),
        )
        for tag in range(1500)
    ]
    runner.pool.submit(jobs)
    while runner.pool.held:
        running = list(runner.pool.running())
        for each in random.sample(running, min(3, len(running))):
            runner.pool.cancel(each.tag, signal.SIGTERM)
        runner.loop.run_once(0.01)

    assert sorted(outcome.tag for outcome in runner.outcomes) == list(range(1500))
    assert {type(outcome) for outcome in runner.outcomes} >= {Done, Broken, Cancelled, TimedOut}
    # One that was given up may still be on its way out.
    runner.until(lambda: runner.pool.info().details == {"running": 0, "abandoned": 0, "waiting": 0})


@pytest.mark.parametrize("kind", COOPERATIVE)
def test_a_job_inherits_no_context_from_the_one_before(kind: str, start: Start) -> None:
    runner = start(kind, capacity=1)

    runner.submit(b"mark a", b"mark b", b"mark c")

    assert replies(runner, 3) == [b"fresh"] * 3


@pytest.mark.skipif("asyncio" not in KINDS, reason="in a process that is patched for another pool")
def test_what_waits_is_run_although_a_job_blocks_the_asyncio_loop(start: Start, tmp_path: Path) -> None:
    runner = start("asyncio", capacity=2)
    blocked, waiting = tmp_path / "blocked", tmp_path / "waiting"
    runner.pool.submit([Job(0, b"wait-for " + bytes(waiting))])
    runner.until(lambda: len(runner.pool.running()) == 1)
    runner.pool.submit([Job(1, b"block " + bytes(blocked), hard_limit_s=0.1), Job(2, b"echo next")])

    assert runner.until_outcomes(2)[0] == TimedOut(1, 0.1)

    assert {outcome.tag for outcome in runner.outcomes} == {1, 2}
    waiting.write_bytes(b"open")
    blocked.write_bytes(b"open")
    runner.until_outcomes(3)  # beside the blocking job, in the loop that was given up
    runner.until(lambda: runner.pool.info().details["abandoned"] == 0)


@pytest.mark.skipif(PATCHED_FOR not in GREEN, reason="runs in the patched processes of the last test here")
@pytest.mark.parametrize("kind", GREEN)
def test_a_green_job_that_never_waits_cannot_be_ended(kind: str, start: Start) -> None:
    runner = start(kind)

    runner.submit(b"block 0.3", soft_limit_s=0.05, hard_limit_s=0.1)

    assert replies(runner, 1) == [b"spun"]


# -- jobs that end their process ------------------------------------------------------------


def test_a_child_that_exits_loses_its_job_and_says_how(start: Start) -> None:
    runner = start("prefork")

    runner.submit(b"os-exit 7", b"echo on")

    lost, done = runner.until_outcomes(2)
    assert isinstance(lost, ChildLost)
    assert (lost.started, lost.exit_code, lost.signal) == (True, 7, 0)
    assert lost.max_rss_bytes > 1_000_000
    assert isinstance(done, Done)


def test_a_child_that_segfaults_leaves_its_last_words(start: Start) -> None:
    runner = start("prefork")

    runner.submit(b"segfault", b"echo on")

    lost = runner.until_outcomes(2)[0]
    assert isinstance(lost, ChildLost)
    assert (lost.started, lost.exit_code, lost.signal) == (True, -1, signal.SIGSEGV)
    assert "Segmentation fault" in lost.last_words
    assert "prefork_template.py" in lost.last_words


def patched(kind: str) -> list[str]:
    return ["-m", "tests.component.patched", kind] if kind in GREEN else ["-m"]


def in_process(kind: str, *payloads: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", *patched(kind), "tests.component.pool_runner", kind, *payloads],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("kind", IN_PROCESS)
@pytest.mark.parametrize(("payload", "status"), [("os-exit 7", 7), ("segfault", -signal.SIGSEGV)])
def test_an_in_process_pool_dies_with_its_job(kind: str, payload: str, status: int) -> None:
    assert in_process(kind, payload, "noop").returncode == status


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_forks_and_returns_twice_gets_one_outcome(kind: str) -> None:
    ended = in_process(kind, "fork-and-return", "echo on")

    assert ended.returncode == 0, ended.stderr
    outcomes = ended.stdout.splitlines()[1:]
    assert len(outcomes) == 2, ended.stdout
    assert "Done(tag=0" in outcomes[0]
    assert "reply=b'on'" in outcomes[1]


@pytest.mark.parametrize("kind", GREEN)
def test_the_green_pools_keep_this_contract_in_a_patched_process(kind: str, tmp_path: Path) -> None:
    if find_spec(kind) is None:
        pytest.skip(f"{kind} is not installed")
    only = f"{kind} and not in_a_patched_process"

    run = subprocess.run(
        [
            sys.executable,
            *patched(kind),
            "pytest",
            "-q",
            "-n0",
            "-p",
            "no:cacheprovider",
            f"--basetemp={tmp_path / 'of the other pytest'}",
            "-k",
            only,
            __file__,
        ],
        cwd=ROOT,
        env={**os.environ, "TASKD_TEST_PATCHED_FOR": kind},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert " skipped" not in run.stdout
