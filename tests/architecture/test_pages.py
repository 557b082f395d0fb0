"""Pages that are written from the code are those of this code."""

from __future__ import annotations

import re
from pathlib import Path

from taskd.cli.reference import render

DOCS = Path(__file__).parents[2] / "docs"
PACKAGE = DOCS.parent / "taskd"


def test_the_page_of_taskctl_is_current() -> None:
    assert (DOCS / "taskctl.md").read_text() == render(), (
        "renew it: python -m taskd.cli.reference > docs/taskctl.md"
    )


def test_every_module_that_the_map_of_the_house_names_is_there() -> None:
    text = (DOCS.parent / "ARCHITECTURE.md").read_text()
    named = [name for name in re.findall(r"`([a-z_0-9/]+(?:\.py|/))`", text) if "/" in name.rstrip("/")]

    missing = [name for name in named if not (PACKAGE / name).exists() and not (DOCS.parent / name).exists()]
    assert len(named) > 30
    assert missing == []


def test_no_page_installs_from_an_index_that_has_no_release() -> None:
    pages = [DOCS.parent / "README.md", *DOCS.glob("*.md")]

    wrong = [
        f"{page.name}: {found}"
        for page in pages
        for found in re.findall(r"pip install ['\"]?taskd\b.*", page.read_text())
    ]
    assert wrong == [], "the clone is installed: pip install '.[redis]'"
