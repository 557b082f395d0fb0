"""Counted nouns in what people read."""

from __future__ import annotations

import pytest

from taskd.base.plural import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks")])
def test_only_one_is_singular(number: int, said: str) -> None:
    assert counted(number, "task") == said


def test_a_plural_with_its_verb_can_be_given() -> None:
    assert counted(1, "process runs", "processes run") == "1 process runs"
    assert counted(2, "process runs", "processes run") == "2 processes run"
