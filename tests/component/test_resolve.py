"""Names from a user's file to objects, and what is said when they lead nowhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd.errors import ResolveError
from taskd.resolve import resolve


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the working directory, a fresh one; modules imported from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [part for part in sys.path if part not in ("", ".")])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(folder: Path, name: str, code: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)


def test_a_module_of_the_working_directory_is_found(folder: Path) -> None:
    write(folder, "shop_resolve_1.py", "app = 'the app'\nclass Deep:\n    inner = 'inside'\n")

    assert resolve("shop_resolve_1:app") == "the app"
    assert resolve("shop_resolve_1:Deep.inner") == "inside"


def test_without_an_attribute_the_default_is_taken(folder: Path) -> None:
    write(folder, "shop_resolve_2/__init__.py", "")
    write(folder, "shop_resolve_2/tasks.py", "app = 1\nother = 2\n")

    assert resolve("shop_resolve_2.tasks") == 1
    assert resolve("shop_resolve_2.tasks", default_attribute="other") == 2


@pytest.mark.parametrize("path", ["no_such_shop:app", "no_such_shop.tasks:app"])
def test_a_module_that_does_not_exist_is_named(path: str, folder: Path) -> None:
    with pytest.raises(ResolveError, match=r'no module "no_such_shop".*working directory'):
        resolve(path)


def test_a_missing_part_of_an_existing_package_is_named(folder: Path) -> None:
    write(folder, "shop_resolve_3/__init__.py", "")

    with pytest.raises(ResolveError, match=r'no module "shop_resolve_3\.tasks"'):
        resolve("shop_resolve_3.tasks:app")


def test_a_missing_attribute_is_named(folder: Path) -> None:
    write(folder, "shop_resolve_4.py", "")

    with pytest.raises(ResolveError, match=r'"shop_resolve_4" has no attribute "app"'):
        resolve("shop_resolve_4:app")


def test_an_error_of_the_users_own_code_passes_through(folder: Path) -> None:
    write(folder, "shop_resolve_5.py", "import a_module_that_is_not_installed\n")
    write(folder, "shop_resolve_6.py", "1 / 0\n")

    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_installed"):
        resolve("shop_resolve_5:app")
    with pytest.raises(ZeroDivisionError):
        resolve("shop_resolve_6:app")
