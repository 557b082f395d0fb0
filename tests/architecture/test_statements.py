"""Statements name their columns, so that a table may gain one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "taskd"
_BETWEEN_LITERALS = re.compile(r"\"\s*f?\"")
_POSITIONAL = re.compile(r"INSERT\s+(?:OR\s+\w+\s+)?INTO\s+\w+\s+(?:VALUES|SELECT)", re.IGNORECASE)


def positional(code: str) -> list[str]:
    return _POSITIONAL.findall(_BETWEEN_LITERALS.sub("", code))


def test_every_insert_names_its_columns() -> None:
    found = {
        str(path.relative_to(PACKAGE)): inserts
        for path in PACKAGE.rglob("*.py")
        if (inserts := positional(path.read_text()))
    }

    assert not found


@pytest.mark.parametrize(
    "code",
    [
        'X = "INSERT INTO ready VALUES(?,?)"',
        'X = (\n    "insert or replace into ready"\n    f" SELECT {A} FROM b"\n)',
        'X = """INSERT INTO ready\n    SELECT 1"""',
    ],
)
def test_an_insert_by_position_is_found(code: str) -> None:
    assert len(positional(code)) == 1
