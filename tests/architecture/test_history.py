"""The changelog, the page on upgrades and the decision records keep their forms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taskd.base.version import __version__

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
#: The order of Keep a Changelog.
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
RELEASES = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
RECORDS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    assert RELEASES[0] == "[Unreleased]"


def test_each_release_has_its_number_and_day() -> None:
    for release in RELEASES[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", release), release


def test_the_version_of_the_package_is_a_release_or_follows_one() -> None:
    numbers = [release.split("]")[0].lstrip("[") for release in RELEASES[1:]]

    assert __version__.partition(".dev")[0] >= numbers[0]


def test_changes_stand_under_the_six_headings_in_their_order() -> None:
    for section in CHANGELOG.split("\n## ")[1:]:
        found = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert found == [kind for kind in KINDS if kind in found], section.partition("\n")[0]


def test_the_first_release_has_mended_nothing_that_no_release_had() -> None:
    first = CHANGELOG.split("\n## ")[-1]

    assert re.findall(r"^### (.*)$", first, re.MULTILINE) == ["Added"]


def test_the_page_on_upgrades_has_a_section_for_the_present_release() -> None:
    page = (ROOT / "UPGRADING.md").read_text(encoding="utf-8")

    assert re.search(rf"^## From {re.escape(RELEASES[1].split(']')[0][1:])} ", page, re.MULTILINE)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_decision_has_its_number_its_status_and_its_day(path: Path) -> None:
    title, _, status, *_ = path.read_text(encoding="utf-8").splitlines()

    assert re.match(rf"# {path.name[:4]}: .", title)
    assert re.match(r"Status: (accepted|proposed|superseded by \d{4}), \d{4}-\d\d-\d\d", status), status


def test_decisions_are_numbered_one_after_the_other() -> None:
    numbers = [path.name[:4] for path in RECORDS]

    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
