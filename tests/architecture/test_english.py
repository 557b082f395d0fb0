"""What users, operators and the next author read follows the mechanical rules of plain English."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.architecture.english import (
    LONGEST_INSIDE,
    Text,
    comments,
    docstrings,
    helps,
    messages,
    sentences,
    spoken,
)

PACKAGE = Path(__file__).parents[2] / "taskd"
MODULES = sorted(PACKAGE.rglob("*.py"))
#: Rooms that are written anew; the length of their docstrings is next.
_COMING = ("execution", "worker")


def _problems(texts: Iterable[Text]) -> list[str]:
    return [problem for text in texts for problem in text.problems()]


def test_messages_help_and_log_lines_are_plain_english() -> None:
    problems = [problem for path in MODULES for problem in _problems(messages(path))]

    assert problems == [], "\n".join(problems)


def test_docstrings_and_comments_are_plain_english() -> None:
    problems = [
        problem
        for path in MODULES
        for text in (*docstrings(path), *comments(path))
        for problem in text.problems(longest=1000)
    ]

    assert problems == [], "\n".join(problems)


def test_the_sentences_of_docstrings_and_comments_are_not_long() -> None:
    problems = [
        problem
        for path in MODULES
        if path.relative_to(PACKAGE).parts[0] not in _COMING
        for text in (*docstrings(path), *comments(path))
        for problem in spoken(text).problems(longest=LONGEST_INSIDE)
        if " length: " in problem
    ]

    assert problems == [], "\n".join(problems)


def test_the_first_sentence_of_a_docstring_is_short() -> None:
    problems = [
        problem
        for path in MODULES
        for text in docstrings(path)
        for problem in Text(path, text.line, next(sentences(text.said))).problems()
    ]

    assert problems == [], "\n".join(problems)


def test_help_is_whole_sentences() -> None:
    fragments = [
        f"{text.path}:{text.line}: {text.said}"
        for path in MODULES
        for text in helps(path)
        if text.said[:1].islower() or not text.said.endswith((".", "]", ")"))
    ]

    assert fragments == [], "\n".join(fragments)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("noun", "What is left over is deleted."),
        ("noun", "It ends; who waits is told."),
        ("noun", "Which dead letters are meant."),
        ("negation", '"0999" is no mode'),
        ("negation", "the port is none"),
        ("measure", "in the last part of stop_timeout, so long, tasks are asked"),
        ("twice", "Those go first that died at first at first."),
        ("length", "a " * 26),
    ],
)
def test_a_text_that_breaks_a_rule_is_found(rule: str, said: str) -> None:
    problems = _problems(iter([Text(PACKAGE, 1, said)]))

    assert any(f" {rule}: " in problem for problem in problems)


@pytest.mark.parametrize(
    "said",
    [
        "There is no queue of this name.",
        "Which queue is meant?",
        "The mode is no longer supported.",
        "It waits as long as a task runs, and so long as the broker is there.",
        "The port is not a number; use one from 1 to 65535.",
    ],
)
def test_plain_english_passes(said: str) -> None:
    assert _problems(iter([Text(PACKAGE, 1, said)])) == []


def test_tables_and_code_are_not_sentences() -> None:
    text = Text(PACKAGE, 1, "Takes ``a b c``.\n\nfield   meaning\nx       of it\n\nEnds.")

    assert spoken(text).said == "Takes CODE.\n\nEnds."


def test_every_kind_of_text_is_collected(tmp_path: Path) -> None:
    path = tmp_path / "room.py"
    path.write_text(
        '"""A room."""\n'
        "# Opens late.\n"
        'delay: float = option(1, "How long it waits.")\n'
        "def act(name):\n"
        '    """Act once."""\n'
        '    raise ValueError(f"the name {name} is taken; use another")  # a reason\n'
    )
    ast.parse(path.read_text())

    assert [text.said for text in docstrings(path)] == ["A room.", "Act once."]
    assert [text.said for text in comments(path)] == ["Opens late.", "a reason"]
    assert [text.said for text in helps(path)] == ["How long it waits."]
    assert {"the name <X> is taken;", "use another"} <= {text.said for text in messages(path)}


def test_sentences_end_at_full_stops_paragraphs_and_list_items() -> None:
    text = "One. Two\nlines.\n\nThree\n- four\n- five"

    assert list(sentences(text)) == ["One.", "Two lines.", "Three", "- four", "- five"]
