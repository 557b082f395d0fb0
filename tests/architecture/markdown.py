"""The pages that are written by hand, and their parts: lines, prose, cells of tables.

Code is passed over.  In prose a code span counts as one word, and a link as its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.english import Text

ROOT = Path(__file__).parents[2]
#: Pages with this mark are held to the code by tests of their own.
_GENERATED = "<!-- Written by `"
_PLACES = ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/*.md")
_ITEM = re.compile(r"\s*(?:[-*+] |\d+\. |> )")
#: Within a paragraph, a line that begins with another number begins no list: a sentence ends with it.
_INTERRUPTS = re.compile(r"\s*(?:[-*+] |1\. |> )")


@dataclass(frozen=True)
class Line:
    """One line of a page outside of code; ``is_row``: it belongs to a table."""

    path: Path
    number: int
    said: str
    is_row: bool


def pages() -> list[Path]:
    """Return the pages that are written by hand."""
    found = {path for place in _PLACES for path in ROOT.glob(place)}
    return sorted(path for path in found if _GENERATED not in path.read_text(encoding="utf-8")[:300])


def lines(path: Path) -> Iterator[Line]:
    """Return the lines outside of code: neither fenced nor indented by four after an empty line."""
    is_fenced = is_code = False
    before = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
            line = ""  # noqa: PLW2901 - a fence ends a paragraph
        elif line.strip():
            is_code = line.startswith("    ") and (is_code or not before.strip())
        before = line
        if not (is_fenced or is_code):
            yield Line(path, number, line, line.lstrip().startswith("|"))


def prose(path: Path) -> Iterator[Text]:
    """Return the paragraphs, the items of lists, and the clauses in tables; headings are not sentences."""
    at, said, is_item = 0, "", False
    for line in lines(path):
        item = (_ITEM if is_item or not said else _INTERRUPTS).match(line.said)
        starts_anew = line.is_row or line.said.startswith(("#", "<!--")) or item
        if said and (starts_anew or not line.said.strip()):
            yield Text(path, at, plain(said))
            at, said, is_item = 0, "", False
        if line.is_row:
            for cell in cells(line.said):
                yield from (Text(path, line.number, clause) for clause in cell.split("; "))
        elif line.said.strip() and not line.said.startswith(("#", "<!--")):
            at = at or line.number
            is_item = is_item or bool(item)
            rest = line.said[item.end() :] if item else line.said
            said = f"{said} {rest.strip()}".strip()
    if said:
        yield Text(path, at, plain(said))


def cells(row: str) -> Iterator[str]:
    """Return the cells of a row that say something."""
    for cell in re.split(r"(?<!\\)\|", plain(row.strip().strip("|"))):
        if re.search(r"[a-z]", cell):
            yield cell.strip()


def plain(said: str) -> str:
    """Return the text as a reader hears it: each code span one word, each link its text, no marks."""
    said = re.sub(r"``.+?``|`[^`]*`", "CODE", said)
    said = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", said)
    return re.sub(r"\*+", "", said)
