"""The prefork pool beyond the contract: killed children, stuck trips, the processes themselves."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd.base.errors import StartError
from taskd.base.loop import Loop
from taskd.host import procinfo
from taskd.pools.base import Cancelled, ChildLost, Done, Job, Outcome, TimedOut
from taskd.pools.prefork.pool import PreforkPool
from tests.component.pool_runner import ROOT, Runner
from tests.waiting import wait_until

#: Makes a job short in the eyes of the pool, so that it shares a trip with others.
SHORT_S = 0.00001


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner("prefork", capacity=2)
    runner.until_ready()
    yield runner
    runner.close()


@pytest.fixture
def lone() -> Iterator[Runner]:
    """A pool of one child: all jobs of a trip are in the same hands."""
    runner = Runner("prefork", capacity=1)
    runner.until_ready()
    yield runner
    runner.close()


def child_pids(runner: Runner) -> list[int]:
    return list(runner.pool.info().processes)


def template_pid(runner: Runner) -> int:
    return int(str(runner.pool.info().details["template"]))


def is_running(runner: Runner, tag: int) -> bool:
    return any(running.tag == tag for running in runner.pool.running())


def test_every_job_gets_one_outcome_while_children_are_killed_at_random(runner: Runner) -> None:
    chance = random.Random(7)
    jobs = 5000

    def kill_one() -> None:
        if (pids := child_pids(runner)) and len(runner.outcomes) < jobs - 200:
            with contextlib.suppress(ProcessLookupError):  # the one killed before, not reaped yet
                os.kill(chance.choice(pids), signal.SIGKILL)
        runner.loop.call_later(chance.uniform(0.0, 0.03), kill_one)

    runner.pool.submit(
        [
            Job(tag, b"spin 0.0002" if tag % 3 else b"echo %d" % tag, chance.choice([0.0, 0.0002]))
            for tag in range(jobs)
        ]
    )
    kill_one()
    outcomes = runner.until_outcomes(jobs, timeout_s=60.0)
    runner.loop.run_once(0.05)

    assert [outcome.tag for outcome in sorted(runner.outcomes, key=lambda o: o.tag)] == list(range(jobs))
    lost = [outcome for outcome in outcomes if not isinstance(outcome, Done)]
    assert len(lost) > 3
    assert all(isinstance(outcome, ChildLost) and outcome.started for outcome in lost)
    assert all(
        outcome.reply == b"%d" % outcome.tag
        for outcome in outcomes
        if isinstance(outcome, Done) and outcome.tag % 3 == 0
    )


def test_only_the_running_job_of_a_trip_is_lost_with_its_child(lone: Runner, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    lone.submit(
        b"echo before", b"echo too", b"touch-and-spin " + bytes(mark), b"echo after", expected_s=SHORT_S
    )
    wait_until(lambda: mark.exists() and mark.read_bytes())

    os.kill(child_pids(lone)[0], signal.SIGKILL)

    before, too, lost, after = lone.until_outcomes(4)
    assert isinstance(before, Done)
    assert isinstance(too, Done)
    assert isinstance(lost, ChildLost)
    assert (lost.started, lost.signal) == (True, signal.SIGKILL)
    assert isinstance(after, Done)
    assert mark.read_bytes() == b"."


def test_a_killed_childs_job_is_reported_before_the_pool_would_look_for_it(lone: Runner) -> None:
    spans = []
    for _ in range(10):
        lone.outcomes.clear()
        lone.submit(b"spin 60")
        lone.until(lambda: is_running(lone, 0))
        began = time.monotonic()
        os.kill(child_pids(lone)[0], signal.SIGKILL)
        lone.until_outcomes(1)
        spans.append(time.monotonic() - began)
        lone.until(lambda: len(child_pids(lone)) == 1)

    # A death that nobody reports is found half a second later; a busy machine may take as long for most.
    assert min(spans) < 0.4, spans


def test_jobs_behind_one_that_takes_long_go_elsewhere(runner: Runner, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    payloads = [b"echo first", b"wait-for " + bytes(gate), *[b"echo %d" % tag for tag in range(2, 300)]]

    runner.submit(*payloads, expected_s=SHORT_S)

    runner.until_outcomes(299)  # also the first, whose report waited in the busy child
    assert sorted(outcome.tag for outcome in runner.outcomes) == [0, *range(2, 300)]
    assert is_running(runner, 1)
    gate.write_bytes(b"open")
    assert runner.until_outcomes(300)[1].tag == 1
    runner.loop.run_once(0.05)
    assert len(runner.outcomes) == 300


def test_a_job_behind_another_in_the_same_child_is_cancelled_unstarted(lone: Runner, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    lone.submit(b"wait-for " + bytes(gate), b"echo never", b"echo on", expected_s=SHORT_S)
    lone.until(lambda: is_running(lone, 0))

    assert lone.pool.cancel(1, signal.SIGTERM)

    assert lone.until_outcomes(1) == [Cancelled(1, started=False)]
    gate.write_bytes(b"open")
    assert [type(outcome) for outcome in lone.until_outcomes(3)] == [Done, Cancelled, Done]


def test_a_hard_limit_spares_the_other_jobs_of_the_trip(lone: Runner) -> None:
    lone.submit(b"echo a", b"spin 60", b"echo b", expected_s=SHORT_S, hard_limit_s=0.3)

    before, timed_out, after = lone.until_outcomes(3)

    assert isinstance(before, Done)
    assert timed_out == TimedOut(1, 0.3)
    assert isinstance(after, Done)


def test_a_job_that_ignores_the_signal_is_killed_on_request(lone: Runner) -> None:
    lone.submit(b"spin 60")
    lone.until(lambda: is_running(lone, 0))

    lone.pool.cancel(0, signal.SIGINT)  # ignored in children
    lone.loop.run_once(0.05)
    assert is_running(lone, 0)
    lone.pool.cancel(0, signal.SIGKILL)

    assert lone.until_outcomes(1) == [Cancelled(0, started=True)]


def test_a_job_that_was_to_be_softened_and_has_ended_costs_no_later_job(lone: Runner) -> None:
    for _ in range(200):
        lone.outcomes.clear()
        lone.submit(b"noop", b"spin 0.0005", b"spin 0.0005", b"noop")
        while len(lone.outcomes) < 4:
            lone.pool.soften(1)
            lone.loop.run_once(0.0002)

        outcomes = sorted(lone.outcomes, key=lambda outcome: outcome.tag)
        assert [type(outcome) for outcome in (outcomes[0], *outcomes[2:])] == [Done] * 3


def test_a_job_that_ends_before_its_signal_works_costs_no_later_job(lone: Runner) -> None:
    lone.submit(b"spin 0.05", b"spin 0.3")
    lone.until(lambda: is_running(lone, 0))

    lone.pool.cancel(0, signal.SIGINT)  # ignored in children

    assert [type(outcome) for outcome in lone.until_outcomes(2)] == [Done, Done]


def test_the_death_of_a_child_is_seen_though_its_descriptors_live_on(lone: Runner, tmp_path: Path) -> None:
    release = tmp_path / "release"
    lone.submit(b"fork-and-stay " + bytes(release))
    (outcome,) = lone.until_outcomes(1)
    assert isinstance(outcome, Done)
    survivor = int(outcome.reply)
    former = child_pids(lone)
    lone.outcomes.clear()
    lone.submit(b"spin 60")
    lone.until(lambda: is_running(lone, 0))

    os.kill(former[0], signal.SIGKILL)

    assert isinstance(lone.until_outcomes(1, timeout_s=60.0)[0], ChildLost)
    assert procinfo.is_alive(survivor)
    release.write_bytes(b"")


def test_a_job_that_closes_every_descriptor_costs_its_child_only(lone: Runner) -> None:
    lone.submit(b"close-all", b"echo on")

    closed, done = lone.until_outcomes(2)

    assert isinstance(closed, Done)  # its report was found in the shared memory
    assert isinstance(done, Done)


def test_a_job_may_print_much() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.component.pool_runner", "prefork", "print 50000000", "echo on"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )

    assert ended.stdout.count(b"x") >= 50_000_000
    assert b"reply=b'on'" in ended.stdout


def test_children_come_back_after_every_one_of_many_deaths(lone: Runner) -> None:
    seen = set()
    for number in range(40):
        lone.outcomes.clear()
        lone.submit(b"pid", b"os-exit %d" % (number % 3))
        pid = lone.until_outcomes(2)[0]
        assert isinstance(pid, Done)
        seen.add(pid.reply)

    assert len(seen) == 40


def test_children_that_die_before_they_run_anything_are_not_replaced_in_a_spin(lone: Runner) -> None:
    killed: set[int] = set()
    until = time.monotonic() + 1.0
    while time.monotonic() < until or len(killed) < 2:
        for pid in child_pids(lone):
            if pid not in killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
        lone.loop.run_once(0.01)

    assert len(killed) < 30
    lone.submit(b"echo on")
    assert isinstance(lone.until_outcomes(1)[0], Done)


def test_processes_are_named_and_know_their_place(runner: Runner) -> None:
    def command(pid: int) -> str:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()

    assert command(template_pid(runner)) == "taskd: template w@test"
    wait_until(
        lambda: sorted(map(command, child_pids(runner))) == ["taskd: child w@test/1", "taskd: child w@test/2"]
    )
    assert os.readlink(f"/proc/{child_pids(runner)[0]}/fd/0") == "/dev/null"


def test_a_job_that_kills_its_process_group_costs_its_child_only(runner: Runner) -> None:
    former = [template_pid(runner), *child_pids(runner)]
    runner.submit(b"kill-group", b"echo on")

    outcomes = runner.until_outcomes(2)

    assert [type(outcome) for outcome in outcomes] == [ChildLost, Done]
    assert template_pid(runner) == former[0]
    assert len({*former[1:], *child_pids(runner)}) < 4  # the other child lives on


def test_programs_that_jobs_or_their_import_start_neither_ignore_nor_block_a_signal_of_ours() -> None:
    runner = Runner(capacity=1, mode="program")
    try:
        runner.until_ready()
        runner.submit(b"ignored", b"at-load")
        found = [outcome.reply.split() for outcome in runner.until_outcomes(2) if isinstance(outcome, Done)]
    finally:
        runner.close()

    c_library = 0b11 << 31  # two signals that no program may use: posix_spawn(3) leaves them ignored
    assert [(int(held, 16), int(ignored, 16) & ~c_library) for held, ignored in found] == [(0, 0)] * 2


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack(">Q", 8 * 2**30),
        struct.pack(">Q", 0),
        struct.pack(">QQ", 8, 0),
        struct.pack(">QQBI", 13, 0, 0xDD, 2**32 - 1),
        struct.pack(">QQBI", 14, 0, 0xDD, 1) + b"\xc1",
        struct.pack(">QQBI", 13 + 14, 0, 0xDD, 1) + b"\x94\x00\x07\xc4\x00\xcb" + struct.pack(">d", 0.1),
        struct.pack(">QQBI", 13 + 14, 0, 0xDD, 1)
        + b"\x94\x00\x00\xc4\x00\xcb"
        + struct.pack(">d", float("nan")),
    ],
    ids=["8GB", "empty", "no-head", "4e9-reports", "no-msgpack", "wrong-tag", "nan"],
)
def test_a_child_that_writes_garbage_is_ended_and_its_job_is_accounted(garbage: bytes, lone: Runner) -> None:
    former = child_pids(lone)
    lone.submit(b"garbage " + garbage.hex().encode(), b"echo on")

    lost, done = lone.until_outcomes(2)

    assert isinstance(lost, ChildLost)
    assert isinstance(done, Done)
    assert done.reply == b"on"
    assert not set(former) & set(child_pids(lone))


def test_template_and_children_inherit_no_descriptor_of_the_worker() -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    runner = Runner("prefork", capacity=2)
    runner.until_ready()
    runner.submit(b"noop", b"noop")
    runner.until_outcomes(2)
    try:
        pipe = os.readlink(f"/proc/self/fd/{write_end}")
        for pid in [template_pid(runner), *child_pids(runner)]:
            links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
            assert pipe not in links
        for pid in child_pids(runner):
            numbers = [entry for entry in Path(f"/proc/{pid}/fd").iterdir() if int(entry.name) > 2]
            assert len(numbers) == 3, numbers  # data socket, slot, and mmap's own copy of that
    finally:
        runner.close()
        os.close(read_end)
        os.close(write_end)


def test_the_pool_leaks_no_descriptor_over_many_children(lone: Runner) -> None:
    def open_now() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    lone.submit(b"os-exit 1")
    lone.until_outcomes(1)
    lone.until(lambda: lone.pool.ready)
    before = open_now()

    lone.submit(*[b"os-exit 1"] * 20)
    lone.until_outcomes(21)

    lone.until(lambda: lone.pool.ready and open_now() == before)


# -- the template ---------------------------------------------------------------------------


def test_a_killed_template_is_replaced_with_its_children(runner: Runner) -> None:
    runner.submit(b"spin 60", b"spin 60", b"echo on")
    runner.until(lambda: len(runner.pool.running()) == 2)
    former = [template_pid(runner), *child_pids(runner)]

    os.kill(former[0], signal.SIGKILL)

    outcomes = runner.until_outcomes(3)
    assert [type(outcome) for outcome in outcomes] == [ChildLost, ChildLost, Done]
    runner.until(lambda: runner.pool.ready)
    assert not set(former) & {template_pid(runner), *child_pids(runner)}
    assert runner.hellos == [b"hello", b"hello"]
    wait_until(lambda: not any(procinfo.is_alive(pid) for pid in former))


def failed(mode: str, preload: str = "auto") -> tuple[str, str]:
    runner = Runner("prefork", mode=mode, preload=preload)
    try:
        runner.until(lambda: runner.failures)
        assert not runner.pool.ready
        return runner.failures[0]
    finally:
        runner.close()


@pytest.mark.parametrize("mode", ["thread", "late-thread"])
def test_with_preload_a_template_with_a_second_thread_refuses_to_fork_and_names_it(mode: str) -> None:
    reason, _ = failed(mode, preload="true")

    assert '"metrics-pusher"' in reason
    assert 'preload = "auto"' in reason


def test_a_target_that_does_not_load_is_reported_with_its_traceback() -> None:
    reason, detail = failed("broken")

    assert reason == "the task code did not load: ImportError: no module named shop"
    assert "prefork_template.py" in detail


def test_task_code_that_exits_is_a_failure_to_load() -> None:
    assert "SystemExit: 4" in failed("exits")[0]


def test_a_template_that_dies_while_loading_is_a_failure() -> None:
    assert "exit_code=9" in failed("dies")[0]


def test_a_hello_of_a_megabyte_arrives_whole() -> None:
    runner = Runner("prefork", mode="big-hello")
    runner.until_ready()

    assert runner.hellos == [b"h" * 1_000_000]
    runner.close()


def test_task_code_may_run_programs_while_it_loads() -> None:
    runner = Runner("prefork", mode="subprocess")
    runner.until_ready()
    runner.close()


def test_a_pool_that_is_stopped_while_its_template_loads_ends() -> None:
    runner = Runner("prefork")

    runner.stop(within_s=10.0)

    assert runner.readies == 0
    runner.loop.close()


def test_a_killed_worker_leaves_no_process_behind() -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.component.pool_runner", "prefork", "spin 60", "sleep 60"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with worker:
        assert worker.stdout is not None
        pids = [int(pid) for pid in worker.stdout.readline().split()]
        assert len(pids) == 3
        assert all(map(procinfo.is_alive, pids))

        worker.kill()

        wait_until(lambda: not any(map(procinfo.is_alive, pids)), timeout_s=2.0)


def test_outcomes_of_a_stopping_pool_survive_the_death_of_its_last_child(
    lone: Runner, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    lone.submit(b"touch-and-spin " + bytes(mark), b"echo after", expected_s=SHORT_S)
    wait_until(mark.exists)

    def lose_the_child() -> None:
        os.kill(child_pids(lone)[0], signal.SIGKILL)

    lone.loop.call_soon(lose_the_child)
    lone.stop(within_s=20.0)

    kinds: list[type[Outcome]] = [type(outcome) for outcome in lone.until_outcomes(2)]
    assert kinds == [ChildLost, Done]


def test_a_descriptor_to_be_passed_keeps_its_number() -> None:
    read_end, write_end = os.pipe()
    runner = Runner("prefork", pass_fds=[write_end])
    runner.until_ready()
    try:
        assert os.readlink(f"/proc/{template_pid(runner)}/fd/{write_end}") == os.readlink(
            f"/proc/self/fd/{write_end}"
        )
    finally:
        runner.close()
        os.close(read_end)
        os.close(write_end)


def test_a_template_program_that_is_not_there_fails_the_start() -> None:
    loop = Loop()
    pool = PreforkPool(
        1,
        ["/nonexistent/python"],
        environment={},
        on_ready=lambda: None,
        on_hello=lambda blob: None,
        on_failed=lambda reason, detail: None,
    )

    with pytest.raises(StartError, match="/nonexistent/python"):
        pool.start(loop, lambda outcomes: None)
    loop.close()
