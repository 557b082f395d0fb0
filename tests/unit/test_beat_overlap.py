"""A run that comes due while the former one is on its way."""

from __future__ import annotations

import pytest

from taskd.beat.overlap import OverlapRule, OverlapVerdict, admit

DUE = (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("rule", "active", "expected"),
    [
        (OverlapRule.ALLOW, True, OverlapVerdict(send=DUE)),
        (OverlapRule.ALLOW, False, OverlapVerdict(send=DUE)),
        (OverlapRule.SKIP, True, OverlapVerdict(drop=DUE)),
        (OverlapRule.SKIP, False, OverlapVerdict(send=DUE[:1], drop=DUE[1:])),
        (OverlapRule.QUEUE, True, OverlapVerdict(wait=DUE)),
        (OverlapRule.QUEUE, False, OverlapVerdict(send=DUE[:1], wait=DUE[1:])),
    ],
)
def test_each_rule_does_what_it_says(rule: OverlapRule, active: bool, expected: OverlapVerdict) -> None:
    found = admit(rule, DUE, former_is_active=active)

    assert (*found.send,) == (*expected.send,)
    assert (*found.drop,) == (*expected.drop,)
    assert (*found.wait,) == (*expected.wait,)


@pytest.mark.parametrize("rule", OverlapRule)
def test_what_cannot_be_known_holds_nothing_back(rule: OverlapRule) -> None:
    assert admit(rule, DUE, former_is_active=None).send == DUE
