"""The package keeps its architecture, and each rule of the check can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.arch_check import check
from tests.architecture.tables import DOORS, FLOORS, GATES, MAX_FUNCTION, MAX_MODULE

PACKAGE = Path(__file__).parents[2] / "taskd"


@pytest.fixture(scope="module")
def problems() -> list[str]:
    """What is wrong with the package: found before ``bare_tables`` takes the tables for a test."""
    return check(PACKAGE)


def test_the_package_keeps_its_architecture(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return an empty package that keeps all rules."""
    package = tmp_path / "sample"
    package.mkdir()
    (package / "__init__.py").write_text('"""A package."""\n')
    return package


@pytest.fixture(autouse=True)
def bare_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what the tables say of the real rooms."""
    for table in (FLOORS, DOORS):
        for room in list(table):
            monkeypatch.delitem(table, room)


def write(root: Path, name: str, code: str, doc: str = '"""A module."""\n') -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent != root and not (path.parent / "__init__.py").exists():
        (path.parent / "__init__.py").write_text('"""A folder."""\n')
    path.write_text(doc + code)


def rules_broken(root: Path) -> list[str]:
    """Return the names of the broken rules, one for each problem."""
    return [problem.split(": ")[1] for problem in check(root)]


def test_a_package_that_keeps_all_rules_has_no_problem(root: Path) -> None:
    write(root, "base/clock.py", "import time\n\nnow = time.time\n")
    write(root, "config/schema.py", "from sample.base import clock\n\nSTART = clock.now()\n")
    write(root, "brokers/base.py", "from sample.config.schema import START\n\nNEXT = START\n")

    assert check(root) == []


def test_a_long_module_is_found(root: Path) -> None:
    write(root, "base/clock.py", "A = 1\n" * MAX_MODULE)

    assert rules_broken(root) == ["size"]


def test_a_long_function_is_found(root: Path) -> None:
    body = "    a = 1\n" * MAX_FUNCTION
    write(root, "base/clock.py", f"def _long() -> None:\n{body}")

    assert rules_broken(root) == ["size"]


@pytest.mark.parametrize(
    "code",
    [
        "def public() -> None:\n    pass\n",
        "class Public:\n    pass\n",
        'class Public:\n    """It."""\n\n    def method(self) -> None:\n        pass\n',
    ],
)
def test_a_missing_docstring_is_found(root: Path, code: str) -> None:
    write(root, "base/clock.py", code)

    assert rules_broken(root) == ["doc"]


def test_a_module_without_docstring_is_found(root: Path) -> None:
    write(root, "base/clock.py", "A = 1\n", doc="")

    assert rules_broken(root) == ["doc"]


@pytest.mark.parametrize(
    ("importer", "statement"),
    [
        ("config/load.py", "from sample.brokers import base"),  # upward
        ("results/memory.py", "import sample.brokers.base"),  # sideways
        ("results/memory.py", "from ..brokers.base import A"),  # relative
        ("base/clock.py", "from sample.brokers.base import A"),  # out of the vocabulary
        ("config/load.py", "if TYPE_CHECKING:\n    from sample.brokers.base import A"),  # for types only
    ],
)
def test_an_import_that_does_not_go_down_is_found(root: Path, importer: str, statement: str) -> None:
    write(root, "brokers/base.py", "A = 1\n")
    write(root, importer, f"{statement}\n")

    assert rules_broken(root) == ["rank"]


def test_a_module_outside_of_all_rooms_is_found(root: Path) -> None:
    write(root, "clock.py", "A = 1\n")

    assert rules_broken(root) == ["root"]


@pytest.mark.parametrize(
    ("importer", "statement"),
    [
        ("brokers/base.py", "from sample.brokers.sqlite import intake"),  # up
        ("brokers/redis/desk.py", "from sample.brokers.sqlite.intake import A"),  # sideways
        ("brokers/attic.py", "from sample.brokers import base"),  # from a place without a floor
    ],
)
def test_an_import_between_floors_that_does_not_go_down_is_found(
    root: Path, monkeypatch: pytest.MonkeyPatch, importer: str, statement: str
) -> None:
    monkeypatch.setitem(FLOORS, "brokers", (("base",), ("sqlite", "redis"), ("factory",)))
    write(root, "brokers/__init__.py", "", '"""A room."""\n')
    write(root, "brokers/sqlite/intake.py", "A = 1\n")
    write(root, "brokers/factory.py", "from sample.brokers.sqlite.intake import A\n")
    if importer != "brokers/base.py":
        write(root, "brokers/base.py", "A = 1\n")
    write(root, importer, f"{statement}\n")

    assert rules_broken(root) == ["floor"]


def test_an_import_through_no_door_is_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOORS, "beat", ("base",))
    write(root, "beat/__init__.py", "", '"""A room.\n\nMay import: ``base``.\n"""\n')
    write(root, "config/schema.py", "A = 1\n")
    write(root, "beat/book.py", "from sample.config.schema import A\n")

    assert rules_broken(root) == ["door"]


@pytest.mark.parametrize(
    "doc", ["A room.", "A room.\n\nMay import: ``config``.", "May import: ``config``, ``base``."]
)
def test_a_room_whose_docstring_says_other_doors_is_found(
    root: Path, monkeypatch: pytest.MonkeyPatch, doc: str
) -> None:
    monkeypatch.setitem(DOORS, "beat", ("base", "config"))
    write(root, "beat/__init__.py", "", f'"""{doc}\n"""\n')

    assert rules_broken(root) == ["door"]


@pytest.mark.parametrize(
    ("code", "broken"),
    [
        ("a, b = 1, 2\n", ["packed"]),
        ("a = b = 0\n", ["packed"]),
        ("a = object()\na.x = a.y = len([])\n", ["packed"]),
        ("a = 1\nb = 2\n", []),
        ("a = 1\nb = 2\na, b = b, a\n", []),  # a swap
        ("a = [1]\nb, a = a, []\n", []),  # taken and cleared
        ("a, b = divmod(7, 2)\n", []),
    ],
)
def test_assignments_that_share_a_line_are_found(root: Path, code: str, broken: list[str]) -> None:
    write(root, "base/clock.py", code)

    assert rules_broken(root) == broken


def test_a_cycle_through_types_alone_is_found(root: Path) -> None:
    write(root, "brokers/base.py", "if TYPE_CHECKING:\n    from sample.brokers import intake\n")
    write(root, "brokers/intake.py", "from sample.brokers.base import A\n")

    assert rules_broken(root) == ["cycle"]


def test_a_folder_without_a_rank_is_found(root: Path) -> None:
    write(root, "base/clock.py", "A = 1\n")
    write(root, "shed/things.py", "from sample.base import clock\n")

    assert rules_broken(root) == ["rank"]


def test_a_cycle_is_found(root: Path) -> None:
    write(root, "brokers/base.py", "from sample.brokers import intake\n")
    write(root, "brokers/intake.py", "from sample.brokers.base import A\n")

    assert rules_broken(root) == ["cycle"]


def test_an_own_import_inside_a_function_is_found_but_not_in_a_factory(root: Path) -> None:
    code = "def _open() -> None:\n    from sample.brokers import base\n"
    write(root, "brokers/base.py", "A = 1\n")
    write(root, "brokers/factory.py", code)
    write(root, "brokers/desk.py", code)

    assert rules_broken(root) == ["lazy"]


@pytest.mark.parametrize("guarded", sorted(GATES))
def test_a_guarded_module_is_found_wherever_it_is_imported(root: Path, guarded: str) -> None:
    write(root, "events/base.py" if guarded != "kombu" else "app/base.py", f"import {guarded}\n")
    write(root, "base/clock.py", f"def _late() -> None:\n    from {guarded} import anything\n")

    assert rules_broken(root) == ["gate", "gate"]


@pytest.mark.parametrize(
    "code",
    [
        "import time\n\nA = time.time()\n",
        "import time\n\nalias = time.monotonic\n",
        "from time import sleep\n",
        "import os\n\nA = os.fork()\n",
        "print(1)\n",
    ],
)
def test_a_guarded_call_is_found_however_it_is_named(root: Path, code: str) -> None:
    write(root, "brokers/base.py", code)

    assert rules_broken(root) == ["call"]


def test_a_name_that_says_nothing_is_found(root: Path) -> None:
    write(root, "brokers/utils.py", "A = 1\n")

    assert rules_broken(root) == ["name"]


@pytest.mark.parametrize("mark", ["TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error"])
def test_unfinished_work_is_found(root: Path, mark: str) -> None:
    write(root, "base/clock.py", f"A = 1  # {mark}\n")

    assert rules_broken(root) == ["unfinished"]
