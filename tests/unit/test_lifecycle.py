"""Deadlines: absolute, and never negative."""

from __future__ import annotations

import math

import pytest

from taskd.base import clock
from taskd.base.lifecycle import Deadline


def test_a_deadline_ahead_has_time_left() -> None:
    deadline = Deadline.after(60.0)

    assert not deadline.passed
    assert 59.0 < deadline.remaining_s() <= 60.0


@pytest.mark.parametrize("delay_s", [0.0, -5.0])
def test_a_deadline_that_has_passed_has_no_time_left(delay_s: float) -> None:
    deadline = Deadline.after(delay_s)

    assert deadline.passed
    assert deadline.remaining_s() == 0.0


def test_a_deadline_without_limit_never_passes() -> None:
    deadline = Deadline(math.inf)

    assert not deadline.passed
    assert deadline.remaining_s() == math.inf


def test_a_deadline_is_monotonic_time() -> None:
    assert Deadline(clock.monotonic() - 1.0).passed
    assert not Deadline(clock.monotonic() + 60.0).passed
