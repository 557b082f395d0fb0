"""The pages about the states and the signals follow their tables."""

from __future__ import annotations

from pathlib import Path

from taskd.supervisor.reference import render, render_signals

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_the_states_is_up_to_date() -> None:
    written = (DOCS / "process-states.md").read_text(encoding="utf-8")

    assert written == render(), "run: python -m taskd.supervisor.reference > docs/process-states.md"


def test_the_page_of_the_signals_is_up_to_date() -> None:
    written = (DOCS / "signals.md").read_text(encoding="utf-8")

    assert written == render_signals(), "run: python -m taskd.supervisor.reference signals > docs/signals.md"
