"""Wait for a condition with a deadline: the one place in the tests that pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")


#: What comes, comes as soon as it would without a limit; one that a test gives is for a machine of its own.
LEAST_S = 60.0


def wait_until(
    predicate: Callable[[], T | Literal[False] | None],
    timeout_s: float = LEAST_S,
    what: str = "the condition",
) -> T:
    """Return the first true value of ``predicate``; fail the test when the time is over.

    A busy machine gets at least a minute, whatever ``timeout_s`` is.
    """
    limit_s = max(timeout_s, LEAST_S)
    value = seen_within(predicate, limit_s)
    if not value:
        raise AssertionError(f"{what} did not come true within {limit_s} s; last value: {value!r}")
    return value


def seen_within(predicate: Callable[[], T], timeout_s: float) -> T:
    """Return the first true value of ``predicate``, or the last one when the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.01)


def let_pass(pause_s: float, enough: Callable[[], bool], patience_s: float) -> None:
    """Pause between two random blows until ``enough`` was done, so that a slow machine gets on, too."""
    deadline = time.monotonic() + patience_s
    while True:
        time.sleep(pause_s)
        if enough() or time.monotonic() > deadline:
            return
