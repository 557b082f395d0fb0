"""The page about remote control has the table of commands as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskd.control.reference import table
from taskd.protocol.commands import CommandKind

PAGE = Path(__file__).parent.parent.parent / "docs" / "remote-control.md"


@pytest.mark.parametrize("kind", CommandKind)
def test_the_page_has_the_commands_of_each_kind(kind: CommandKind) -> None:
    assert table(kind) in PAGE.read_text(), "write it anew: python -m taskd.control.reference"
