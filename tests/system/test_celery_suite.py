"""Celery's own integration suite: whatever it finds right in Celery's worker, it finds right in ours.

The suite's source is in the environment (scripts/env.sh).  Its client and its worker are processes apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import services
from tests.services import RedisServer
from tests.system.daemon import ROOT

SUITE = Path(sys.prefix) / "celery-suite"
TASKS, INSPECT, CANVAS = (f"t/integration/test_{name}.py" for name in ("tasks", "inspect", "canvas"))
#: Tests that look into a worker in a thread of their own process, or change its settings there: no worker in
#: another process can pass them, Celery's neither.
OF_A_THREAD = (
    f"{INSPECT}::test_Inspect::test_stats",
    f"{INSPECT}::test_Inspect::test_hello_stamps_received_revoked_ids_locally",
    f"{TASKS}::test_tasks::test_send_task_without_ignore_result_uses_task_ignore_result",
    f"{TASKS}::test_tasks::test_send_task_without_ignore_result_stores_result",
    f"{TASKS}::test_tasks::test_revoked_by_headers_simple_canvas",
    f"{TASKS}::test_trace_log_arguments",
    f"{TASKS}::test_task_redis_result_backend::test_retry_preserves_ignore_result",
    f"{TASKS}::test_task_replacement::test_replaced_task_nesting_level",
    f"{TASKS}::test_task_replacement::test_replaced_task_nesting_chain",
    f"{TASKS}::test_signal_bound_method_receivers",
    f"{CANVAS}::test_chord::test_enabling_flag_allow_error_cb_on_chord_header",
    f"{CANVAS}::test_chord::test_disabling_flag_allow_error_cb_on_chord_header",
    f"{CANVAS}::test_chord::test_flag_allow_error_cb_on_chord_header_on_upgraded_chord",
    f"{CANVAS}::test_stamping_mechanism::test_task_received_has_access_to_stamps",
    f"{CANVAS}::test_stamping_mechanism::test_linking_stamped_sig",
    f"{CANVAS}::test_stamping_mechanism::test_err_linking_stamped_sig",
)
#: Parts that take about the same time: the tests' modules, and words of pytest's that choose among them.
#: Inspection first: it counts what is scheduled, of which tasks leave some.
PARTS = {
    "tasks": ((INSPECT, TASKS), ""),
    "chains": ((CANVAS,), "test_chain or test_link or test_result_set or test_group"),
    "chords": ((CANVAS,), "not (test_chain or test_link or test_result_set or test_group)"),
}


@dataclass(frozen=True)
class Outcomes:
    """What became of each test, and why it failed."""

    outcomes: Mapping[str, str]
    reasons: Mapping[str, str]

    @property
    def failed(self) -> set[str]:
        return {test for test, outcome in self.outcomes.items() if outcome == "failed"}

    @property
    def passed(self) -> set[str]:
        return {test for test, outcome in self.outcomes.items() if outcome == "passed"}


class Suite:
    """The suite over one kind of broker.  No run meets what another has left in its queues or results."""

    def __init__(self, directory: Path, broker: str) -> None:
        self._directory = directory
        self._broker = broker
        self._runs = 0

    def run(self, worker: str, tests: Collection[str], among: str = "") -> Outcomes:
        """Run tests of the suite with a worker, over servers that are empty."""
        redis = RedisServer()
        try:
            return self._run(worker, tests, among, redis)
        finally:
            redis.end()

    def _run(self, worker: str, tests: Collection[str], among: str, redis: RedisServer) -> Outcomes:
        self._runs += 1
        directory = self._directory / f"{self._runs}-{worker}"
        directory.mkdir()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "TEST_BROKER": redis.url if self._broker == "redis" else services.rabbit_url(),
            "TEST_BACKEND": redis.url,
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(redis.port),
            "SUITE_WORKER": worker,
            "SUITE_DIRECTORY": str(directory),
            "PYTHONPATH": f"{SUITE}:{ROOT}",
        }
        plugins = ("-p", "no:cacheprovider", "-p", "tests.system.suite_worker", "-p", "celery.contrib.pytest")
        chosen: Sequence[str] = [*tests, *(f"--deselect={each}" for each in OF_A_THREAD)]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-n0",
                f"--basetemp={directory / 'temp'}",
                *plugins,
                "-k",
                among,
                *chosen,
            ],
            cwd=SUITE,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        written = directory / "outcomes.json"
        assert written.exists(), f"the suite did not run: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return Outcomes(**json.loads(written.read_text()))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
@pytest.mark.parametrize("part", PARTS)
def test_celerys_own_suite_passes_where_it_passes_with_celerys_worker(
    broker: str, part: str, tmp_path: Path
) -> None:
    if not (SUITE / "t").exists():
        pytest.skip("the environment was not made by scripts/env.sh")
    suite = Suite(tmp_path, broker)
    modules, among = PARTS[part]

    ours = suite.run("taskd", modules, among)
    # Many of its tests wait for a fixed time, which a busy machine may exceed: what fails twice, fails.
    again = suite.run("taskd", ours.failed) if ours.failed else Outcomes({}, {})
    theirs = suite.run("celery", again.failed).passed if again.failed else set()

    assert len(ours.passed) > 20
    lost = again.failed & theirs
    assert not lost, "\n\n".join(f"{each}\n{ours.reasons[each]}\n{again.reasons[each]}" for each in lost)
