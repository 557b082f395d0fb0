"""Drive a pool in a loop of its own: shared by the contract suite and the prefork tests.

As a program, ``python -m tests.component.pool_runner KIND PAYLOAD...``, it runs the payloads and
prints the pids of the pool's processes, then one line for each outcome.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from taskd.base.errors import SoftTimeLimitExceeded
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.config.choosing import pool_kind
from taskd.config.kinds import PoolTrait
from taskd.pools.base import Job, Outcome, Pool, Target
from taskd.pools.opening import AsyncTarget, ChildLimits, Children, OnReady, TargetForms
from tests.component.prefork_template import target

ROOT = Path(__file__).resolve().parents[2]


class _Work:
    """``TargetForms`` whose jobs are commands."""

    @property
    def soft_limit(self) -> type[Exception]:
        return SoftTimeLimitExceeded

    def blocking(self) -> Target:
        return target

    def green(self) -> Target:
        from tests.component.cooperative_targets import green_target

        return green_target

    def awaitable(self) -> AsyncTarget:
        from tests.component.cooperative_targets import async_target

        return async_target


class Runner:
    """A started pool, its loop, and every outcome so far."""

    def __init__(
        self,
        kind: str = "prefork",
        capacity: int = 2,
        mode: str = "plain",
        pass_fds: Sequence[int] = (),
        *,
        preload: str = "auto",
        limits: ChildLimits = ChildLimits(),  # noqa: B008 - frozen
        program: str = "tests.component.prefork_template",
    ) -> None:
        self.loop = Loop()
        self.outcomes: list[Outcome] = []
        self.on_outcomes: Callable[[Sequence[Outcome]], None] = self.outcomes.extend
        self.readies = 0
        self.hellos: list[bytes] = []
        self.failures: list[tuple[str, str]] = []
        self._preload, self._limits, self._program = preload, limits, program
        self.pool = self._make(kind, capacity, mode, pass_fds)
        self.pool.start(self.loop, self._on_outcomes)

    def _make(self, kind: str, capacity: int, mode: str, pass_fds: Sequence[int]) -> Pool:
        record = pool_kind(kind)
        opener = cast("Callable[[int, TargetForms | Children, OnReady], Pool]", record.load(record.opener))
        if PoolTrait.CHILDREN not in record.traits:
            return opener(capacity, _Work(), self._on_ready)
        children = Children(
            command=[sys.executable, "-m", self._program, mode],
            environment={**os.environ, "PYTHONPATH": str(ROOT)},
            pass_fds=pass_fds,
            title="w@test",
            preload=self._preload,
            limits=self._limits,
            on_hello=self.hellos.append,
            on_failed=lambda reason, detail: self.failures.append((reason, detail)),
            on_death=lambda _end: None,
        )
        return opener(capacity, children, self._on_ready)

    def _on_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        self.on_outcomes(outcomes)

    def _on_ready(self) -> None:
        self.readies += 1

    def submit(self, *payloads: bytes, **options: float) -> None:
        """Submit payloads as jobs with tags 0, 1, 2, ..."""
        self.pool.submit([Job(tag, payload, **options) for tag, payload in enumerate(payloads)])

    def until(self, predicate: Callable[[], object], timeout_s: float = 60.0) -> None:
        """Run the loop until the predicate is true; fail when the time is over."""
        deadline = time.monotonic() + timeout_s
        while not predicate():
            if time.monotonic() > deadline:
                raise AssertionError(f"timed out; outcomes: {str(self.outcomes)[:2000]}; {self.failures}")
            self.loop.run_once(0.01)

    def until_ready(self) -> None:
        """Run the loop until all slots can run jobs."""
        self.until(lambda: self.pool.ready and self.readies)

    def until_outcomes(self, count: int, timeout_s: float = 60.0) -> list[Outcome]:
        """Run the loop until there are ``count`` outcomes; return them in order of their tags."""
        self.until(lambda: len(self.outcomes) >= count, timeout_s)
        return sorted(self.outcomes, key=lambda outcome: outcome.tag)

    def close(self) -> None:
        """End the pool and the loop."""
        self.pool.kill()
        self.until(lambda: self.pool.stopped)
        self.loop.close()

    def stop(self, within_s: float) -> None:
        """Stop the pool by its deadline and wait until it has stopped."""
        self.pool.stop(Deadline.after(within_s))
        self.until(lambda: self.pool.stopped)


def main(kind: str, *payloads: str) -> None:
    runner = Runner(kind)
    runner.until_ready()
    pool = runner.pool
    pids = (
        pool.info().processes
        if kind != "prefork"
        else [*pool.info().processes, pool.info().details["template"]]
    )
    print(*pids, flush=True)
    runner.submit(*(payload.encode() for payload in payloads))
    for outcome in runner.until_outcomes(len(payloads), timeout_s=60.0):
        print(outcome, flush=True)
    runner.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
