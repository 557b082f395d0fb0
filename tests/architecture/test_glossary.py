"""The glossary names what the code names, in sentences of its own rules."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from tests.architecture.english import Text, comments, docstrings, messages

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "glossary.md"
ROWS = re.findall(
    r"^\| (?!term|---)([^|]+) \| ([^|]+) \|([^|]*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
)
MODULES = sorted((ROOT / "taskd").rglob("*.py"))
CODE = "\n".join(path.read_text(encoding="utf-8") for path in MODULES)
SAID = re.findall(r"[a-z]+", CODE.lower() + (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").lower())
WORDS = {*SAID, *map(" ".join, itertools.pairwise(SAID))}


@pytest.mark.parametrize(("term", "meaning"), [(term, meaning) for term, meaning, _ in ROWS])
def test_a_term_is_used_and_explained_in_one_sentence(term: str, meaning: str) -> None:
    wanted = term.lower().replace("-", " ")
    assert {wanted + ending for ending in ("", "s", "ed", "ing")} & WORDS, f"nobody says {term}"
    assert meaning.endswith(".")
    assert ". " not in meaning
    assert list(Text(PAGE, 1, meaning).problems()) == []


def test_each_term_stands_once_and_in_order() -> None:
    terms = [term for term, _, _ in ROWS]

    assert len(terms) == len(set(terms))
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        found = re.findall(r"^\| (?!term|---)([^|]+) \|", section, re.MULTILINE)
        assert found == sorted(found)


def test_no_text_uses_another_word_for_a_term() -> None:
    others = [word for _, _, words in ROWS for word in words.strip().split(", ") if word]
    forbidden = re.compile(rf"\b(?:{'|'.join(others)})(?:es|s)?\b", re.IGNORECASE)
    texts = (text for path in MODULES for kind in (messages, docstrings, comments) for text in kind(path))

    assert [
        f"{text.path}:{text.line}: {text.said[:80]}" for text in texts if forbidden.search(text.said)
    ] == []
