"""Wait for a condition with a deadline: the one place in the tests that pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout_s: float = 20.0, what: str = "the condition") -> T:
    """Return the first true value of ``predicate``; fail the test when the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s} s; last value: {value!r}")
        time.sleep(0.01)


def let_pass(pause_s: float, enough: Callable[[], bool], patience_s: float) -> None:
    """Pause between two random blows until ``enough`` was done, so that a slow machine gets on, too."""
    deadline = time.monotonic() + patience_s
    while True:
        time.sleep(pause_s)
        if enough() or time.monotonic() > deadline:
            return
