"""The page about tasks has the tables of options as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskd.sending.reference import send_table, task_table

PAGE = Path(__file__).parent.parent.parent / "docs" / "tasks.md"


@pytest.mark.parametrize("table", [task_table(), send_table()], ids=["task", "send"])
def test_the_page_has_the_options(table: str) -> None:
    assert table in PAGE.read_text(), "write it anew: python -m taskd.sending.reference"
