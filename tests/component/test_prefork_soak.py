"""Everything at once: kills, cancels, limits, resizes and recalls; every job ends exactly once."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter

import pytest

from taskd.pools.base import Job
from tests.component.pool_runner import Runner

PAYLOADS = [
    *[b"noop"] * 30,
    *[b"spin 0.0005"] * 10,
    b"spin 0.05",
    b"spin-soft 0.03",
    b"spin 5",
    b"os-exit 3",
    b"raise x",
    b"sleep 0.03",
    b"huge 100000",
    b"echo " + b"x" * 100_000,
]


class Chaos:
    """Submits random jobs, and does to the pool whatever may happen to one."""

    def __init__(self, runner: Runner, seed: int, jobs: int) -> None:
        self.runner = runner
        self.chance = random.Random(seed)
        self.jobs = jobs
        self.submitted = 0
        self.recalled: list[int] = []

    def step(self) -> None:
        pool, chance = self.runner.pool, self.chance
        if pool.held < 400:
            self._submit(min(chance.randint(1, 150), self.jobs - self.submitted))
        dice = chance.random()
        if dice < 0.05:
            self._kill(list(pool.info().processes))
        elif dice < 0.10 and self.submitted:
            tag = chance.randrange(max(0, self.submitted - 300), self.submitted)
            pool.cancel(tag, chance.choice([signal.SIGTERM, signal.SIGKILL]))
        elif dice < 0.12:
            pool.resize(chance.randint(1, 5))
        elif dice < 0.13:
            self.recalled += pool.recall()
        elif dice < 0.132:
            self._kill([int(str(pool.info().details["template"]))])

    def _submit(self, count: int) -> None:
        batch = []
        for tag in range(self.submitted, self.submitted + count):
            payload = self.chance.choice(PAYLOADS)
            limited = payload == b"spin 5" or self.chance.random() < 0.02
            batch.append(
                Job(
                    tag,
                    payload,
                    expected_s=self.chance.choice([0.0, 0.00001, 0.0005, 0.1]),
                    soft_limit_s=0.01 if self.chance.random() < 0.05 else 0.0,
                    hard_limit_s=self.chance.choice([0.04, 0.1]) if limited else 0.0,
                )
            )
        self.submitted += count
        self.runner.pool.submit(batch)

    def _kill(self, pids: list[int]) -> None:
        if pids and (pid := self.chance.choice(pids)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it died, and the loop has not turned since

    def is_over(self) -> bool:
        return len(self.runner.outcomes) + len(self.recalled) >= self.jobs


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_every_job_ends_once_whatever_happens(seed: int) -> None:
    runner = Runner("prefork", capacity=3)
    runner.until_ready()
    chaos = Chaos(runner, seed, jobs=8000)

    def turn() -> bool:
        chaos.step()
        return chaos.is_over()

    runner.until(turn, timeout_s=100.0)
    runner.loop.run_once(0.05)

    ends = Counter([outcome.tag for outcome in runner.outcomes] + chaos.recalled)
    assert ends == Counter(range(8000))
    assert runner.pool.held == 0
    runner.stop(within_s=5.0)
    runner.loop.close()
