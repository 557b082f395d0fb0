"""The scanner finds the line of every key that tomllib finds, and never fails."""

from __future__ import annotations

import json
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from taskd.config.provenance import KeyPath, scan

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCUMENT = '''\
# comment = 1
app = "a:b"  # app = 2
text = """
not.a.key = 1
[not.a.table]
"""
literal = \'\'\'
x = "1"
\'\'\'
list = [
  1, # [ "
  { inner = "]" },
  "]",
]

[supervisor]
  stop_timeout = "5m"

["quoted \\u0041.key"]
'literal.key' = 1
a . b . c = 2

[worker.mail]
environment = { HOME = "/", PATH = { deep = [1, {x = 2}], last = 1 } }
"": = broken
'''


def test_every_kind_of_key_has_its_line() -> None:
    lines = scan(DOCUMENT).lines

    assert lines[("app",)] == 2
    assert lines[("text",)] == 3
    assert lines[("literal",)] == 7
    assert lines[("list",)] == 10
    assert lines[("supervisor",)] == 16
    assert lines[("supervisor", "stop_timeout")] == 17
    assert lines[("quoted A.key",)] == 19
    assert lines[("quoted A.key", "literal.key")] == 20
    assert lines[("quoted A.key", "a", "b", "c")] == 21
    assert lines[("worker",)] == 23
    assert lines[("worker", "mail", "environment", "PATH", "last")] == 24
    assert ("not", "a", "key") not in lines
    assert ("list", "inner") not in lines


def test_a_key_without_a_line_has_that_of_its_table() -> None:
    provenance = scan("x = 1\n\n[worker.mail]\nqueues = []\n")

    assert provenance.line_of(("worker", "mail", "missing", "deeper")) == 3
    assert provenance.line_of(("nowhere",)) == 1


def test_windows_line_ends_count_once() -> None:
    assert scan("a = 1\r\n\r\n[t]\r\nb = 2\r\n").lines[("t", "b")] == 4


@given(st.text(alphabet="ab.=[]{}\"'#\\\n\r\t ,u0041é", max_size=60))
@settings(max_examples=1000)
def test_any_text_is_scanned_and_what_is_toml_completely(text: str) -> None:
    lines = scan(text).lines
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert paths_of(document) <= set(lines)


_keys = st.text(min_size=1, max_size=6) | st.sampled_from(["a", "b-c", "d.e", '"', "'", "#", "é", "\n"])
_leaves = st.text(max_size=8) | st.integers(0, 9) | st.booleans() | st.just(["]", "[", "#"])


@given(st.dictionaries(_keys, _leaves | st.dictionaries(_keys, _leaves, max_size=3), max_size=5))
def test_every_key_stands_on_the_line_that_is_found(document: dict[str, object]) -> None:
    text, expected = written(document)
    assert tomllib.loads(text) == document

    lines = scan(text).lines

    assert {path: lines.get(path) for path in expected} == expected


def written(document: dict[str, object]) -> tuple[str, dict[KeyPath, int]]:
    """Write a document of two levels as TOML, one key a line, and note the lines."""
    lines: list[str] = []
    expected: dict[KeyPath, int] = {}
    plain = {key: value for key, value in document.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in document.items() if isinstance(value, dict)}
    for key, value in plain.items():
        lines.append(f"{quoted(key)} = {quoted(value)}")
        expected[key,] = len(lines)
    for name, table in tables.items():
        lines.append(f"[ {quoted(name)} ] # comment")
        expected[name,] = len(lines)
        for key, value in table.items():
            lines.append(f"  {quoted(key)}={quoted(value)}")
            expected[name, key] = len(lines)
    return "\n".join(lines), expected


def quoted(value: object) -> str:
    # JSON's texts, numbers, booleans and lists are TOML's too, but for DEL and surrogate pairs.
    if isinstance(value, str):
        escaped = json.dumps(value, ensure_ascii=False)
        return escaped.replace("\x7f", "\\u007F")
    return json.dumps(value)


def paths_of(document: dict[str, object], prefix: KeyPath = ()) -> set[KeyPath]:
    found: set[KeyPath] = set()
    for key, value in document.items():
        found.add((*prefix, key))
        if isinstance(value, dict):
            found |= paths_of(value, (*prefix, key))
    return found
