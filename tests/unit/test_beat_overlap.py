"""A run that comes due while the former one is on its way."""

from __future__ import annotations

import pytest

from taskd.beat.overlap import Admission, OverlapRule, admit

DUE = (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("rule", "active", "expected"),
    [
        (OverlapRule.ALLOW, True, Admission(send=DUE)),
        (OverlapRule.ALLOW, False, Admission(send=DUE)),
        (OverlapRule.SKIP, True, Admission(drop=DUE)),
        (OverlapRule.SKIP, False, Admission(send=DUE[:1], drop=DUE[1:])),
        (OverlapRule.QUEUE, True, Admission(wait=DUE)),
        (OverlapRule.QUEUE, False, Admission(send=DUE[:1], wait=DUE[1:])),
    ],
)
def test_each_rule_does_what_it_says(rule: OverlapRule, active: bool, expected: Admission) -> None:
    found = admit(rule, DUE, former_is_active=active)

    assert (*found.send,) == (*expected.send,)
    assert (*found.drop,) == (*expected.drop,)
    assert (*found.wait,) == (*expected.wait,)


@pytest.mark.parametrize("rule", OverlapRule)
def test_what_cannot_be_known_holds_nothing_back(rule: OverlapRule) -> None:
    assert admit(rule, DUE, former_is_active=None).send == DUE
