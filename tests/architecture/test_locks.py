"""The lock files, which scripts/lock writes, name a release for all that pyproject.toml asks for."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements/dev.lock", "requirements/lowest.lock")
_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def asked_for() -> list[Requirement]:
    """Everything but the peers of the benchmarks."""
    extras = {
        name: each for name, each in project()["project"]["optional-dependencies"].items() if name != "peers"
    }
    texts = [*project()["build-system"]["requires"], *project()["project"]["dependencies"]]
    return [Requirement(text) for text in [*texts, *(text for each in extras.values() for text in each)]]


def pinned(lock: str) -> list[Requirement]:
    lines = (ROOT / lock).read_text().splitlines()
    return [Requirement(line.removesuffix("\\")) for line in lines if re.match("[a-z]", line)]


def holds(requirement: Requirement, python: str) -> bool:
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", _PYTHONS)
def test_every_requirement_has_one_release_that_it_admits(lock: str, python: str) -> None:
    pins = [pin for pin in pinned(lock) if holds(pin, python)]
    releases = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    assert len(releases) == len(pins)

    wrong = [
        str(each)
        for each in asked_for()
        if holds(each, python)
        and not each.specifier.contains(releases.get(canonicalize_name(each.name), "0"))
    ]
    assert wrong == [], f"{lock} does not fit pyproject.toml any more: run scripts/lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_release_is_known_by_its_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text()

    assert re.findall(r"^[a-z].*[^\\]$", text, re.MULTILINE) == []
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links", text)


def test_the_interpreters_that_pyproject_names_are_those_tried_here() -> None:
    named = [each.rpartition(" ")[2] for each in project()["project"]["classifiers"] if ":: 3." in each]

    assert tuple(named) == _PYTHONS
