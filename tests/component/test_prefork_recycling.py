"""Children that are replaced after so many jobs, above so much memory, or at an age."""

from __future__ import annotations

import logging
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from taskd.host.resident import proportional_bytes, resident_bytes
from taskd.pools.base import Done, Job, Outcome
from taskd.pools.opening import ChildLimits
from taskd.pools.prefork.recycling import AGE, MEMORY, TASKS
from tests.component.pool_runner import Runner

MAKE = Callable[..., "Recycled"]
SHORT_S = 0.00001


class Recycled(Runner):
    """A prefork pool with limits for its children."""

    def __init__(self, limits: ChildLimits, capacity: int = 2) -> None:
        super().__init__("prefork", capacity, limits=limits)

    def pids(self) -> list[int]:
        return list(self.pool.info().processes)

    def replaced(self) -> dict[str, int]:
        replaced = self.pool.info().details["replaced"]
        assert isinstance(replaced, dict)
        return replaced


@pytest.fixture
def make() -> Iterator[MAKE]:
    made: list[Recycled] = []

    def start(capacity: int = 2, **limits: Any) -> Recycled:
        made.append(Recycled(ChildLimits(**limits), capacity))
        made[-1].until_ready()
        return made[-1]

    yield start
    for runner in made:
        runner.close()


def replies(outcomes: Sequence[Outcome]) -> list[bytes]:
    assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
    return [outcome.reply for outcome in outcomes if isinstance(outcome, Done)]


@pytest.mark.parametrize("expected_s", [0.0, SHORT_S])
@pytest.mark.parametrize("max_tasks", [1, 10])
def test_no_child_runs_more_jobs_than_it_may_and_every_job_has_one_outcome(
    make: MAKE, max_tasks: int, expected_s: float
) -> None:
    runner = make(max_tasks=max_tasks)

    runner.submit(*[b"pid"] * 300, expected_s=expected_s)

    outcomes = runner.until_outcomes(300)
    runner.loop.run_once(0.05)
    assert [outcome.tag for outcome in outcomes] == list(range(300))
    runs = Counter(replies(outcomes))
    assert max(runs.values()) == max_tasks
    runner.until(lambda: runner.replaced().get(TASKS, 0) >= 300 // max_tasks - 2)


@pytest.mark.parametrize("limit", [{"max_tasks": 10}, {"max_bytes": 1}, {"max_age_s": 0.02}], ids=str)
def test_a_child_leaves_only_when_another_is_ready(make: MAKE, limit: dict[str, float]) -> None:
    runner = make(**limit)
    seen: list[int] = []
    crew = runner.pool._crew  # type: ignore[attr-defined]
    retire = crew.retire

    def watched(child: object) -> None:
        heirs = [other for other in crew.children.values() if other.heir_of is None and not other.retiring]
        seen.append(sum(1 for other in heirs if other.pid and other is not child))
        retire(child)

    crew.retire = watched
    while len(seen) < 16:
        runner.outcomes.clear()
        runner.submit(*[b"sleep 0.002"] * 50)
        runner.until_outcomes(50)

    assert min(seen) >= 2, "capacity was lost"
    assert runner.pool.ready


def test_never_more_jobs_run_at_once_than_there_are_slots(make: MAKE) -> None:
    runner = make(max_tasks=3)
    most = 0

    def watch() -> bool:
        nonlocal most
        most = max(most, len(runner.pool.running()))
        return len(runner.outcomes) >= 100

    runner.submit(*[b"sleep 0.005"] * 100)
    runner.until(watch)

    assert most == 2


def test_a_child_that_has_grown_is_replaced_and_an_idle_one_is_not_forgotten(make: MAKE) -> None:
    base = make().pids()[0]
    runner = make(capacity=1, max_bytes=resident_bytes([base]) + 40_000_000)
    (former,) = runner.pids()
    runner.submit(*[b"echo x"] * 5)
    runner.until_outcomes(5)
    assert runner.pids() == [former]
    runner.outcomes.clear()

    runner.submit(b"hoard 60000000")

    runner.until_outcomes(1)
    runner.until(lambda: runner.replaced() == {MEMORY: 1})
    assert former not in runner.pids()
    assert len(runner.pids()) == 1


def test_the_fair_share_of_memory_counts_less_than_all_of_it(make: MAKE) -> None:
    runner = make(max_bytes=1, proportional=True)
    pid = runner.pids()[0]

    assert 0 < proportional_bytes([pid]) < resident_bytes([pid])
    assert proportional_bytes([2**22 + 1]) == 0

    runner.submit(b"noop")
    runner.until(lambda: runner.replaced().get(MEMORY, 0) == 1)


def test_an_old_child_is_replaced_idle_or_between_two_jobs(make: MAKE) -> None:
    runner = make(max_age_s=0.3)
    former = runner.pids()
    runner.submit(b"sleep 0.8")

    runner.until(lambda: runner.replaced().get(AGE, 0) >= 1)
    assert not runner.outcomes, "the idle one goes first, the busy one stays"
    assert len(set(former) & set(runner.pids())) == 1

    assert isinstance(runner.until_outcomes(1)[0], Done)
    runner.until(lambda: not set(former) & set(runner.pids()))
    assert runner.pool.ready


def test_the_exit_is_logged_with_its_reason(make: MAKE, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    runner = make(capacity=1, max_tasks=2)
    (pid,) = runner.pids()

    runner.submit(b"noop", b"noop")
    runner.until(lambda: runner.replaced() == {TASKS: 1})

    assert f"child left pid={pid} reason={TASKS} jobs=2" in caplog.text
    assert "child ended" not in caplog.text


def test_a_child_that_a_signal_ended_is_logged_with_the_signal_alone(
    make: MAKE, caplog: pytest.LogCaptureFixture
) -> None:
    runner = make(capacity=1)
    (pid,) = runner.pids()

    os.kill(pid, signal.SIGKILL)
    runner.until(lambda: "child ended" in caplog.text)

    assert f"child ended pid={pid} signal=9" in caplog.text
    assert "exit_code" not in caplog.text


def test_kills_in_the_middle_of_replacements_cost_no_outcome_and_no_slot(make: MAKE) -> None:
    runner = make(capacity=3, max_tasks=5, max_age_s=0.2)
    chance = random.Random(3)
    jobs = 1500

    def kill_one() -> None:
        if (pids := runner.pids()) and len(runner.outcomes) < jobs - 100:
            try:
                os.kill(chance.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                pass  # it died, and the loop has not turned since
        runner.loop.call_later(chance.uniform(0.005, 0.03), kill_one)

    runner.pool.submit(
        [Job(tag, b"spin 0.0005", chance.choice([0.0, 0.0005, SHORT_S])) for tag in range(jobs)]
    )
    kill_one()
    runner.until_outcomes(jobs, timeout_s=60.0)
    runner.loop.run_once(0.05)

    assert Counter(outcome.tag for outcome in runner.outcomes) == Counter(range(jobs))
    assert sum(isinstance(outcome, Done) for outcome in runner.outcomes) > jobs / 2
    runner.until(lambda: runner.pool.ready and len(runner.pool._crew.active()) == 3)  # type: ignore[attr-defined]


def test_a_waiting_heir_that_is_killed_is_replaced_and_its_elder_goes_on(make: MAKE) -> None:
    runner = make(capacity=1, max_tasks=2)
    (elder,) = runner.pids()
    runner.submit(b"pid", b"sleep 0.4", b"pid")
    runner.until(lambda: len(runner.pids()) == 2)
    (heir,) = set(runner.pids()) - {elder}

    os.kill(heir, signal.SIGKILL)

    first, _, last = replies(runner.until_outcomes(3))
    assert int(first) == elder
    assert int(last) not in {elder, heir}


def test_the_template_may_die_in_the_middle_of_a_replacement(make: MAKE) -> None:
    runner = make(max_tasks=1)
    runner.submit(*[b"sleep 0.01"] * 60)
    runner.until_outcomes(20)

    os.kill(int(str(runner.pool.info().details["template"])), signal.SIGKILL)

    runner.until_outcomes(60)
    assert Counter(outcome.tag for outcome in runner.outcomes) == Counter(range(60))
    runner.until(lambda: runner.pool.ready)


def test_a_pool_that_recycles_can_be_resized_and_stopped(make: MAKE) -> None:
    runner = make(max_tasks=2)
    runner.submit(*[b"sleep 0.005"] * 60)
    runner.pool.resize(4)
    runner.until_outcomes(20)
    runner.pool.resize(1)
    runner.until_outcomes(40)

    runner.stop(within_s=20.0)

    assert sorted(outcome.tag for outcome in runner.outcomes) == list(range(60))


@pytest.mark.slow
def test_a_leak_in_the_task_code_does_not_grow_the_pool(make: MAKE) -> None:
    runner = make(max_tasks=50)
    peak = 0
    for _ in range(100):
        runner.outcomes.clear()
        runner.submit(*[b"hoard 1000000"] * 40)
        runner.until_outcomes(40)
        peak = max(peak, resident_bytes(runner.pids()))

    assert peak < 4 * 120_000_000
