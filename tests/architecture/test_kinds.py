"""No module compares a scheme or a pool's name: the record of the kind says what there is to know."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from taskd.config.built_in import BROKERS, POOLS, RESULTS

PACKAGE = Path(__file__).parents[2] / "taskd"
NAMES = frozenset((*BROKERS, *RESULTS, *POOLS))
#: Modules that may, and why.
ALLOWED = {
    "base/schemes.py": "how addresses are written",
    "config/built_in.py": "the records",
    "storage/redis/address.py": "how Redis's own addresses are written",
    "storage/sqlite/database.py": "how SQLite's own addresses are written",
    "supervisor/reload/former.py": "tables of the file, not schemes",
    "supervisor/process/memory_kills.py": "a controller of control groups",
    "protocol/lenient.py": "null is a word for false",
}
#: They hold the names and compare nothing.
_TABLES = {"base/schemes.py", "config/built_in.py"}
_BEGINNINGS = {"startswith", "removeprefix", "endswith", "get", "index", "count"}


def _is_name(node: ast.expr | None, constants: Mapping[str, ast.expr]) -> bool:
    """Return whether an expression is such a name, a URL's beginning, or a collection of them."""
    if isinstance(node, ast.Name):
        return node.id in constants and _is_name(constants[node.id], {})
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and re.sub(":(//)?$", "", node.value) in NAMES
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return any(_is_name(each, constants) for each in node.elts)
    if isinstance(node, ast.Dict):
        return any(_is_name(each, constants) for each in node.keys)
    if isinstance(node, ast.Call) and ast.unparse(node.func) in {"frozenset", "set", "tuple"}:
        return any(_is_name(each, constants) for each in node.args)
    return False


def comparisons(text: str) -> Iterator[int]:
    """Yield the line of each comparison with a scheme or a pool's name."""
    tree = ast.parse(text)
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                compared = [node.left, *node.comparators]
                found = any(_is_name(each, constants) for each in compared)
            case ast.MatchValue():
                found = _is_name(node.value, constants)
            case ast.Call(func=ast.Attribute(attr=attr)) if attr in _BEGINNINGS:
                found = any(_is_name(each, constants) for each in node.args)
            case ast.Subscript():
                found = _is_name(node.value, constants)
            case _:
                continue
        if found:
            yield node.lineno if isinstance(node, (ast.expr, ast.pattern)) else 0


def test_no_module_compares_a_scheme_or_a_pool_s_name() -> None:
    problems = [
        f"{path}:{line}: asks for a kind by its name; ask its record (taskd.config.kinds)"
        for path in sorted(PACKAGE.rglob("*.py"))
        if str(path.relative_to(PACKAGE)) not in ALLOWED
        for line in comparisons(path.read_text())
    ]

    assert problems == [], "\n".join(problems)


def test_the_check_finds_every_way_to_compare() -> None:
    text = "\n".join(
        [
            '_S = "sqlite://"',
            '_T = frozenset({"gevent", "x"})',
            'a == "redis"',
            'b in ("amqp", "x")',
            "c.startswith(_S)",
            "d in _T",
            'match e:\n    case "solo" | "y":\n        pass',
            'f == "other"',
            '{"rediss": 1}[g]',
        ]
    )

    assert sorted(comparisons(text)) == [3, 4, 5, 6, 8, 11]


def test_each_exception_is_still_needed() -> None:
    assert all(list(comparisons((PACKAGE / path).read_text())) for path in ALLOWED if path not in _TABLES)


def test_no_module_asks_a_broker_or_a_store_what_it_can_do_by_its_methods() -> None:
    asked = re.compile(r"isinstance\([^)]*\b(Advancing|Carrying|Replying|Portable|SendsOnce)\b")

    assert [str(path) for path in PACKAGE.rglob("*.py") if asked.search(path.read_text())] == []
