"""When a worker that is connected does not consume."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from taskd.consumer.claiming.selfcheck import PATIENCE_LOOKS, Sight, Verdict, look

STUCK = Sight(claimed=False, claims=True, ready=True, room=True, depth=3)


def after_many_looks(sight: Sight) -> Verdict:
    in_vain = 0
    for _ in range(PATIENCE_LOOKS):
        verdict, in_vain = look(sight, in_vain)
    return verdict


def test_messages_that_wait_beside_free_slots_for_long_are_a_deaf_intake() -> None:
    assert after_many_looks(STUCK) is Verdict.DEAF


def test_messages_that_wait_for_a_pool_without_a_slot_are_the_pools_trouble() -> None:
    assert after_many_looks(replace(STUCK, ready=False)) is Verdict.NO_SLOT


@pytest.mark.parametrize(
    "fine", [{"claimed": True}, {"claims": False}, {"room": False}, {"depth": 0}], ids=str
)
def test_there_may_be_a_reason_not_to_claim(fine: dict[str, Any]) -> None:
    assert after_many_looks(replace(STUCK, **fine)) is Verdict.FINE


def test_one_good_look_forgives_all_that_came_before() -> None:
    _, in_vain = look(STUCK, PATIENCE_LOOKS - 2)
    assert in_vain == PATIENCE_LOOKS - 1

    assert look(replace(STUCK, claimed=True), in_vain) == (Verdict.FINE, 0)
