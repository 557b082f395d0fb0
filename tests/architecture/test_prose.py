"""The pages that are written by hand can be read in a terminal and compared line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.markdown import ROOT, cells, lines, pages, plain, prose

WIDTH = 110
#: They tell of a day that is over, in the words of that day.
_OF_THEIR_DAY = ("CHANGELOG.md", "docs/decisions/")


def test_lines_of_pages_are_not_wide() -> None:
    """Rows of tables and code keep their lines."""
    wide = [
        f"{line.path.relative_to(ROOT)}:{line.number}: {len(line.said)} characters, at most {WIDTH}"
        for path in pages()
        for line in lines(path)
        if len(line.said) > WIDTH and not line.is_row
    ]

    assert len(pages()) > 40
    assert wide == [], "\n".join(wide)


def test_pages_are_plain_english() -> None:
    """The rules and the length of sentences are those of messages and docstrings: ``english.py``."""
    problems = [
        problem.removeprefix(f"{ROOT}/")
        for path in pages()
        if not str(path.relative_to(ROOT)).startswith(_OF_THEIR_DAY)
        for text in prose(path)
        for problem in text.problems()
    ]

    assert problems == [], "\n".join(problems)


@pytest.mark.parametrize(
    "name", ["README.md", "docs/operating.md", "docs/decisions/0012-reload-is-level-triggered.md"]
)
def test_pages_are_found(name: str) -> None:
    assert ROOT / name in pages()


def test_generated_pages_are_left_to_their_own_tests() -> None:
    assert ROOT / "docs" / "taskctl.md" not in pages()


def test_a_page_is_taken_apart(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "# A `title`\n\nOne of\n2. It ends.\n\n    code\n    code\n\n- item\n  more\n- [text](url)\n\n"
        "```\nfenced\n```\n\n| a b | `c` d |\n|---|---|\n"
    )

    assert [(text.line, text.said) for text in prose(path)] == [
        (3, "One of 2. It ends."),
        (9, "item more"),
        (11, "text"),
        (17, "a b"),
        (17, "CODE d"),
    ]
    assert {line.said.strip() for line in lines(path)} & {"code", "fenced"} == set()


def test_a_code_span_is_one_word_and_a_link_is_its_text() -> None:
    assert plain("see `a b c` in **[the page](x.md)**") == "see CODE in the page"
    assert list(cells(r"| one | `a\|b` two | — |")) == ["one", "CODE two"]
