"""The page about the states follows the table."""

from __future__ import annotations

from pathlib import Path

from taskd.supervisor.reference import render

PAGE = Path(__file__).parents[2] / "docs" / "process-states.md"


def test_the_page_is_up_to_date() -> None:
    written = PAGE.read_text(encoding="utf-8")

    assert written == render(), "run: python -m taskd.supervisor.reference > docs/process-states.md"
