"""Which steps bring a store up, and who may use it."""

from __future__ import annotations

import pytest

from taskd.base.formats import NOTHING, Formats, Mark, Step

#: 2 is additive, 3 is breaking, 4 is additive again.
FORMATS = Formats("x", [Step(1, 1, "a"), Step(2, 1, "b"), Step(3, 3, "c"), Step(4, 3, "d")])


@pytest.mark.parametrize(
    ("found", "due"),
    [(NOTHING, [1, 2, 3, 4]), (Mark(1, 1), [2, 3, 4]), (Mark(3, 3), [4]), (Mark(4, 3), []), (Mark(9, 4), [])],
)
def test_the_steps_after_the_format_found_are_due(found: Mark, due: list[int]) -> None:
    assert [step.format for step in FORMATS.due(found)] == due


def test_what_an_additive_step_of_a_newer_taskd_has_changed_is_used() -> None:
    assert FORMATS.refusal(Mark(9, 4)) is None


def test_what_a_breaking_step_of_a_newer_taskd_has_changed_is_refused_by_name_with_the_remedy() -> None:
    refusal = FORMATS.refusal(Mark(9, 5))

    assert refusal is not None
    assert "newer taskd (x format 9, to be read from format 5 on; this taskd knows 4)" in refusal
    assert "upgrade taskd" in refusal


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([Step(2, 1, "")], id="the first is missing"),
        pytest.param([Step(1, 1, ""), Step(3, 1, "")], id="one is missing"),
        pytest.param([Step(1, 2, "")], id="nobody could read it"),
        pytest.param([Step(1, 1, ""), Step(2, 2, ""), Step(3, 1, "")], id="who could not read it now can"),
    ],
)
def test_steps_that_make_no_sense_are_refused(steps: list[Step[str]]) -> None:
    with pytest.raises(ValueError, match="x: step"):
        Formats("x", steps)
