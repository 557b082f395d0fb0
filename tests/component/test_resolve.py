"""Names from a user's file to objects, and what is said when they lead nowhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd.base.errors import ResolveError
from taskd.base.resolve import failure_of, resolve


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


def test_a_module_beside_the_configuration_file_is_found_last(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path_factory.mktemp("beside")
    monkeypatch.setenv("TASKD_CONFIG", str(beside / "taskd.toml"))
    write(beside, "shop_resolve_9.py", "app = 'beside the file'\n")
    write(beside, "shop_resolve_8.py", "app = 'beside the file'\n")
    write(folder, "shop_resolve_8.py", "app = 'where it works'\n")

    assert resolve("shop_resolve_9") == "beside the file"
    assert resolve("shop_resolve_8") == "where it works"
    with pytest.raises(ResolveError, match=f"looked in {folder}.*, {beside}"):
        resolve("no_such_shop")


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


def test_a_class_that_was_imported_is_not_suggested(folder: Path) -> None:
    write(folder, "shop_resolve_8.py", "from pathlib import Path as App\nimport json as apps\napp = 1\n")

    with pytest.raises(ResolveError, match='did you mean "app"'):
        resolve("shop_resolve_8:ap")
    with pytest.raises(ResolveError, match='did you mean "app"'):
        resolve("shop_resolve_8:App2")


def test_an_attribute_that_is_nearly_right_is_suggested(folder: Path) -> None:
    write(folder, "shop_resolve_7.py", "app = 1\n")

    with pytest.raises(ResolveError, match='did you mean "app"'):
        resolve("shop_resolve_7:ap")


def failure(path: str) -> tuple[str, str]:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever a module raises
        resolve(path)
    return failure_of(caught.value)


def test_of_a_name_that_leads_nowhere_one_line_says_all(folder: Path) -> None:
    reason, traceback = failure("no_such_shop.tasks:app")

    assert reason.startswith('no module "no_such_shop" for app')
    assert traceback == ""


def test_the_traceback_of_a_module_begins_with_its_own_line(folder: Path) -> None:
    write(folder, "shop_resolve_8.py", "def load():\n    1 / 0\n\nload()\n")

    reason, traceback = failure("shop_resolve_8:app")

    assert reason == "ZeroDivisionError: division by zero"
    assert traceback.count("  File ") == 2
    assert 'shop_resolve_8.py", line 4' in traceback
    assert "resolve.py" not in traceback.replace("shop_resolve", "")


def test_a_module_that_is_no_python_is_shown_at_its_line(folder: Path) -> None:
    write(folder, "shop_resolve_9.py", "x = 1\ndef f(:\n")

    reason, traceback = failure("shop_resolve_9:app")

    assert reason.startswith("SyntaxError: ")
    assert traceback.lstrip().startswith('File "')
    assert 'shop_resolve_9.py", line 2' in traceback


def test_an_exception_that_cannot_be_printed_is_named(folder: Path) -> None:
    odd = "class Odd(Exception):\n    def __str__(self): return 1 / 0\nraise Odd\n"
    write(folder, "shop_resolve_10.py", odd)

    assert failure("shop_resolve_10:app")[0] == "Odd"
