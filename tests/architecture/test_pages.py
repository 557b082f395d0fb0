"""Pages that are written from the code are those of this code."""

from __future__ import annotations

from pathlib import Path

from taskd.cli.reference import render

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_taskctl_is_current() -> None:
    assert (DOCS / "taskctl.md").read_text() == render(), (
        "renew it: python -m taskd.cli.reference > docs/taskctl.md"
    )
