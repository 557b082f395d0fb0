"""One name for the errors of brokers and of stores, wherever both are meant."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import taskd
from taskd.base.errors import BackendError, BrokerError, StorageError

PACKAGE = Path(taskd.__file__).parent
BOTH = {"BrokerError", "StorageError"}


def handlers_of_both(source: str) -> list[int]:
    """Return the lines of the handlers that name both families."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ExceptHandler)
        and isinstance(node.type, ast.Tuple)
        and {each.id for each in node.type.elts if isinstance(each, ast.Name)} >= BOTH
    ]


@pytest.mark.parametrize("kind", [BrokerError, StorageError])
def test_a_broker_and_a_store_fail_by_one_family_of_errors(kind: type[Exception]) -> None:
    assert issubclass(kind, BackendError)


def test_no_handler_names_both_kinds_in_the_place_of_their_family() -> None:
    found = {
        str(path.relative_to(PACKAGE)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := handlers_of_both(path.read_text(encoding="utf-8")))
    }

    assert not found


def test_the_check_sees_a_handler_of_both() -> None:
    assert handlers_of_both("try: f()\nexcept (BrokerError, ConfigError, StorageError): pass") == [2]
