"""The tests keep a shape, too: a helper that two modules need stands in one of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def imported(code: str) -> Iterator[str]:
    """Yield every module that some code imports, and every name that it imports from one."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{each.name}" for each in names)


def borrowed(code: str) -> list[str]:
    """Return the modules of tests that some code imports."""
    parts = (name.split(".") for name in imported(code))
    return [".".join(each) for each in parts if each[0] == "tests" and each[-1].startswith("test_")]


def test_no_module_of_tests_is_imported_by_another() -> None:
    found = {str(path.relative_to(TESTS)): borrowed(path.read_text()) for path in TESTS.rglob("*.py")}

    assert {name: modules for name, modules in found.items() if modules} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from tests.unit.test_x import helper",
        "import tests.unit.test_x as it",
        "from tests.unit import test_x",
    ],
)
def test_an_import_from_a_module_of_tests_is_found(line: str) -> None:
    assert borrowed(f"def late():\n    {line}\n") == ["tests.unit.test_x"]
