"""A run that comes due while the former one is on its way."""

from __future__ import annotations

import pytest

from taskd.beat.overlap import Admission, Overlap, admit

DUE = (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("rule", "active", "expected"),
    [
        (Overlap.ALLOW, True, Admission(send=DUE)),
        (Overlap.ALLOW, False, Admission(send=DUE)),
        (Overlap.SKIP, True, Admission(drop=DUE)),
        (Overlap.SKIP, False, Admission(send=DUE[:1], drop=DUE[1:])),
        (Overlap.QUEUE, True, Admission(wait=DUE)),
        (Overlap.QUEUE, False, Admission(send=DUE[:1], wait=DUE[1:])),
    ],
)
def test_each_rule_does_what_it_says(rule: Overlap, active: bool, expected: Admission) -> None:
    found = admit(rule, DUE, former_is_active=active)

    assert (*found.send,) == (*expected.send,)
    assert (*found.drop,) == (*expected.drop,)
    assert (*found.wait,) == (*expected.wait,)


@pytest.mark.parametrize("rule", Overlap)
def test_what_cannot_be_known_holds_nothing_back(rule: Overlap) -> None:
    assert admit(rule, DUE, former_is_active=None).send == DUE
