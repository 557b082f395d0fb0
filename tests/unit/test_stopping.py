"""How hasty a stop is, and how long its steps last."""

from __future__ import annotations

import pytest

from taskd.supervisor.model.machine import State
from taskd.supervisor.model.signals import Haste, hastier
from taskd.supervisor.model.stopping import StopPolicy


@pytest.mark.parametrize(
    ("now", "cold", "then"),
    [
        (None, False, Haste.WARM),
        (None, True, Haste.COLD),
        (Haste.WARM, False, Haste.COLD),
        (Haste.WARM, True, Haste.COLD),
        (Haste.COLD, False, Haste.KILL),
        (Haste.KILL, True, Haste.KILL),
    ],
)
def test_each_further_request_goes_one_step_down(now: Haste | None, cold: bool, then: Haste) -> None:
    assert hastier(now, cold=cold) is then


def test_a_warm_stop_has_the_configured_time_and_a_cold_one_a_short_one() -> None:
    policy = StopPolicy(warm_s=300.0, cold_s=2.0)

    assert policy.until(State.DRAINING, 10.0) == 310.0
    assert policy.until(State.STOPPING, 10.0) == 12.0
