"""The keys of a worker that say how large its pool is and how long its children live."""

from __future__ import annotations

import pytest

from taskd.config.load import check_bytes
from taskd.config.problems import ProblemSeverity
from taskd.config.programs import WorkerConfig

HEAD = 'app = "a:b"\n[worker.mail]\n'


def read(keys: str) -> tuple[WorkerConfig | None, list[str], list[str]]:
    """Return the worker, the errors and the warnings."""
    config, problems = check_bytes((HEAD + keys).encode(), "/taskd.toml", {})
    said = {
        severity: [str(problem) for problem in problems if problem.severity is severity]
        for severity in ProblemSeverity
    }
    return (
        (config.workers["mail"] if config else None),
        said[ProblemSeverity.ERROR],
        said[ProblemSeverity.WARNING],
    )


def test_units_and_defaults_are_read() -> None:
    worker, *_ = read('max_memory_per_child = "300MiB"\nmax_age_per_child = "12h"\nmin_concurrency = 2\n')

    assert worker is not None
    assert worker.max_memory_per_child == 300 * 2**20
    assert worker.max_age_per_child == 43200.0
    assert (worker.max_tasks_per_child, worker.memory_measure, worker.shrink_after) == (0, "rss", 30.0)


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ("concurrency = 2\nmin_concurrency = 3", "expected at most concurrency, 2"),
        ('pool = "solo"\nmin_concurrency = 1', "expected pool = prefork or threads, or no min_concurrency"),
        ('max_memory_per_child = "-1"', "max_memory_per_child"),
        ("max_memory_per_child = 200000", 'no child is that small; expected at least "1MiB"'),
        ('memory_measure = "uss"', "expected one of rss, pss"),
    ],
)
def test_what_cannot_be_is_refused(keys: str, error: str) -> None:
    worker, errors, _ = read(keys)

    assert worker is None
    assert len(errors) == 1
    assert error in errors[0]


def test_without_a_concurrency_the_lower_bound_is_free() -> None:
    assert read("min_concurrency = 1")[1] == []


def test_limits_for_children_that_the_pool_does_not_have_are_warned_of() -> None:
    worker, errors, warnings = read('pool = "threads"\nmax_tasks_per_child = 10\nmin_concurrency = 1')

    assert worker is not None
    assert errors == []
    assert len(warnings) == 1
    assert "the pool threads has no child processes" in warnings[0]
