"""A test that waits for what must come has patience for a busy machine, which costs nothing when it comes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import LEAST_S

TESTS = Path(__file__).parents[1]
#: The calls that wait, and where the limit stands among their arguments when it has no name.
_WAITS = {
    "wait": 0,
    "join": 0,
    "settimeout": 0,
    "wait_for": 1,
    "is_readable": 1,
    **dict.fromkeys(("get", "aget", "join_native", "wait_all", "gather", "agather", "as_completed", "map")),
    **dict.fromkeys(("communicate", "run", "create_connection", "urlopen", "drain_events", "until_outcomes")),
    **dict.fromkeys(("inspect", "ping", "revoke", "broadcast", "call", "multi_call", "is_awake")),
}
#: Below it a wait is one of several looks, or for what must not come.  Longer ones of these have a constant.
_LOOK_S = 1.0


def short_waits(code: str) -> Iterator[int]:
    """Yield the line of each wait whose limit a busy machine may pass."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            yield from (node.lineno for limit in limits(node) if is_short(limit))


def is_short(limit: ast.expr) -> bool:
    value = limit.value if isinstance(limit, ast.Constant) else None
    return isinstance(value, int | float) and _LOOK_S <= value < LEAST_S


def limits(call: ast.Call) -> Iterator[ast.expr]:
    """Yield what a call gives as the limit of its wait."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    if name not in _WAITS:
        return
    yield from (each.value for each in call.keywords if each.arg in ("timeout", "timeout_s", "within_s"))
    place = _WAITS[name]
    if place is not None:
        yield from call.args[place : place + 1]


def test_no_test_is_impatient() -> None:
    run = (path for path in TESTS.rglob("*.py") if path.parent.name != "typing")
    found = {str(path.relative_to(TESTS)): [*short_waits(path.read_text())] for path in run}

    assert {name: lines for name, lines in found.items() if lines} == {}, "give it 60 s"


@pytest.mark.parametrize(
    "line",
    [
        "process.wait(20)",
        "result.get(timeout=5)",
        "subprocess.run(words, timeout=30)",
        "is_readable(box, 1.0)",
    ],
)
def test_a_short_wait_is_found(line: str) -> None:
    assert [*short_waits(f"def late():\n    {line}\n")] == [2]


@pytest.mark.parametrize("line", ["process.wait(60)", "ready.wait(LOOK_S)", "is_readable(box, 0.05)"])
def test_a_long_wait_and_a_look_are_let_pass(line: str) -> None:
    assert [*short_waits(line)] == []
