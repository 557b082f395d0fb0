"""A process steps back only if it can return."""

from __future__ import annotations

import pytest

from taskd.host.priority import has_way_back


@pytest.mark.parametrize(
    ("nice", "limit", "capable", "back"),
    [
        (0, 0, False, False),  # what most systems give
        (0, 20, False, True),
        (0, 19, False, False),
        (5, 15, False, True),
        (-5, 20, False, False),
        (-5, 0, True, True),
        (0, -1, False, True),
        (19, 0, True, False),  # it is as far back as it can be
    ],
)
def test_the_way_back_needs_the_capability_or_a_limit_that_reaches_far_enough(
    nice: int, limit: int, capable: bool, back: bool
) -> None:
    assert has_way_back(nice, limit=limit, capable=capable) is back
