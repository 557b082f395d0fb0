"""Which steps bring a store up, and who may use it."""

from __future__ import annotations

import pytest

from taskd.base.formats import NOTHING, FormatMark, Formats, FormatStep

#: 2 is additive, 3 is breaking, 4 is additive again.
FORMATS = Formats(
    "x", [FormatStep(1, 1, "a"), FormatStep(2, 1, "b"), FormatStep(3, 3, "c"), FormatStep(4, 3, "d")]
)


@pytest.mark.parametrize(
    ("found", "due"),
    [
        (NOTHING, [1, 2, 3, 4]),
        (FormatMark(1, 1), [2, 3, 4]),
        (FormatMark(3, 3), [4]),
        (FormatMark(4, 3), []),
        (FormatMark(9, 4), []),
    ],
)
def test_the_steps_after_the_format_found_are_due(found: FormatMark, due: list[int]) -> None:
    assert [step.format for step in FORMATS.due(found)] == due


def test_what_an_additive_step_of_a_newer_taskd_has_changed_is_used() -> None:
    assert FORMATS.refusal(FormatMark(9, 4)) is None


def test_what_a_breaking_step_of_a_newer_taskd_has_changed_is_refused_by_name_with_the_remedy() -> None:
    refusal = FORMATS.refusal(FormatMark(9, 5))

    assert refusal is not None
    assert "newer taskd (x format 9, to be read from format 5 on; this taskd knows 4)" in refusal
    assert "upgrade taskd" in refusal


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([FormatStep(2, 1, "")], id="the first is missing"),
        pytest.param([FormatStep(1, 1, ""), FormatStep(3, 1, "")], id="one is missing"),
        pytest.param([FormatStep(1, 2, "")], id="nobody could read it"),
        pytest.param(
            [FormatStep(1, 1, ""), FormatStep(2, 2, ""), FormatStep(3, 1, "")],
            id="who could not read it now can",
        ),
    ],
)
def test_steps_that_make_no_sense_are_refused(steps: list[FormatStep[str]]) -> None:
    with pytest.raises(ValueError, match="x: step"):
        Formats("x", steps)
