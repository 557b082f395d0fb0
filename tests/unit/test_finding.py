"""``app`` finds what ``celery -A`` finds: a module, its ``app`` or ``celery``, or the first that it holds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from taskd.app.app import App
from taskd.base.errors import ResolveError
from taskd.execution.finding import find, load

APP = "from taskd import App\n"
_numbers = count(1)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what writes a package, whose name is new in this process, and returns that name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules: str) -> str:
        name = f"finding_{next(_numbers)}"
        (tmp_path / name).mkdir()
        for module, text in {"__init__": "", **modules}.items():
            (tmp_path / name / f"{module}.py").write_text(APP + text)
        return name

    return write


Package = Callable[..., str]


def test_a_module_is_searched_for_app_and_then_for_celery(package: Package) -> None:
    by_app = package(tasks="app = App()\ncelery = None")
    by_celery = package(tasks="celery = App()")

    assert isinstance(find(f"{by_app}.tasks"), App)
    assert isinstance(find(f"{by_celery}.tasks"), App)


def test_a_package_is_searched_for_a_module_named_celery(package: Package) -> None:
    name = package(celery="app = App()")

    assert find(name) is find(f"{name}.celery") is sys.modules[f"{name}.celery"].app


def test_the_module_app_of_a_package_is_not_taken_for_an_app(package: Package) -> None:
    name = package(__init__="from . import app", app="", celery="app = App()")

    assert isinstance(find(name), App)


def test_an_app_of_any_other_name_is_found_where_it_is_the_first(package: Package) -> None:
    assert isinstance(find(package(__init__="shop = App()")), App)


def test_the_attribute_may_come_after_a_dot(package: Package) -> None:
    name = package(celery="shop = App()")

    assert find(f"{name}.celery.shop") is find(f"{name}.celery:shop")


def test_without_any_app_the_error_names_the_attribute_that_is_expected(package: Package) -> None:
    name = package(tasks="")

    with pytest.raises(ResolveError, match=f'module "{name}.tasks" has no attribute "app"'):
        find(f"{name}.tasks")
    with pytest.raises(ResolveError, match=f'no module "{name}.nothing.here"|no module "{name}.nothing"'):
        find(f"{name}.nothing.here")


def test_an_error_within_the_submodule_is_not_taken_for_its_absence(package: Package) -> None:
    name = package(celery="import no_such_library_at_all")

    with pytest.raises(ModuleNotFoundError, match="no_such_library_at_all"):
        find(name)


def test_an_object_that_is_not_an_app_is_refused_with_its_type(package: Package) -> None:
    name = package(tasks="app = {}")

    with pytest.raises(ResolveError, match=r"is of type builtins\.dict; expected taskd\.App"):
        load(f"{name}.tasks")
