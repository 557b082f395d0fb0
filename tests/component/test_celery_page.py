"""The page about Celery has the verdict on each setting as the code has it."""

from __future__ import annotations

from pathlib import Path

from taskd.execution.celery.conf.reference import BEGIN, END, renewed, settings_table

PAGE = Path(__file__).parents[2] / "docs" / "celery.md"


def test_the_page_has_the_settings() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert settings_table() in text, (
        "run: python -m taskd.execution.celery.conf.reference --write docs/celery.md"
    )


def test_a_page_that_is_behind_is_renewed_and_nothing_else_of_it() -> None:
    assert renewed(f"before\n{BEGIN}\nold\n{END}\nbehind\n") == f"before\n{settings_table()}\nbehind\n"
