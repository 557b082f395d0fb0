"""Kinds and verbs of other packages: what is wrong with one is told with its package and the remedy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tomli
from click.shell_completion import ShellComplete

from taskd.base import exit_codes
from taskd.cli.taskctl import cli, main
from taskd.config import installed
from taskd.config.choosing import broker_kind, pool_kind
from taskd.config.kinds import KindError
from taskd.config.load import check_bytes
from tests.installing import write_entry_points

RECORDS = """
from taskd.config.kinds import BrokerKind, PoolKind

BROKER = BrokerKind(name="ours", schemes=("ours",), opener="records:open_broker", can=frozenset())
GREEDY = BrokerKind(name="greedy", schemes=("greedy", "redis"), opener="records:open_broker", can=frozenset())
POOL = PoolKind(name="ours", opener="records:open_pool", default_slots=7)
"""

VERBS = """
import click

@click.command()
def hello():
    "Greet."
    click.echo("hello")
    return 0

NOT_ONE = 7
"""

Install = Callable[..., None]

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package with these entry points for this process."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "records.py").write_text(RECORDS)
    (tmp_path / "their_verbs.py").write_text(VERBS)
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)")
    (tmp_path / "broken.py").write_text("raise RuntimeError('first\\nsecond')")

    def made(text: str, package: str = "their-package") -> None:
        write_entry_points(tmp_path, package, text)
        installed._entry_points.cache_clear()

    yield made
    sys.modules.pop("records", None)
    sys.modules.pop("their_verbs", None)
    installed._entry_points.cache_clear()


def test_a_kind_of_another_package_is_found_by_its_name(install: Install) -> None:
    install("[taskd.brokers]\nours = records:BROKER\n[taskd.pools]\nours = records:POOL\n")

    assert broker_kind("ours://h").name == "ours"
    assert pool_kind("ours").default_slots == 7


def test_a_file_may_name_it(install: Install) -> None:
    install("[taskd.brokers]\nours = records:BROKER\n[taskd.pools]\nours = records:POOL\n")
    text = 'app = "a"\nbroker = "ours://h/x"\nresults = "null://"\n[worker.a]\npool = "ours"\n'

    config, problems = check_bytes(text.encode(), "t.toml", {})

    assert problems == []
    assert config is not None
    assert config.workers["a"].kind.name == "ours"


@pytest.mark.parametrize(
    ("group", "entry", "said"),
    [
        ("taskd.brokers", "redis = records:BROKER", "taskd has one of that name"),
        ("taskd.brokers", "ours = records:GREEDY", 'it claims "redis://", a scheme of taskd'),
        ("taskd.brokers", "ours = records:POOL", "records:POOL is not a BrokerKind"),
        ("taskd.brokers", "ours = records:NOTHING", "records:NOTHING does not load (AttributeError"),
        ("taskd.brokers", "ours = no_such_module:BROKER", "does not load (ModuleNotFoundError"),
    ],
)
def test_a_kind_that_cannot_be_used_is_told_with_its_package_and_the_remedy(
    install: Install, group: str, entry: str, said: str
) -> None:
    install(f"[{group}]\n{entry}\n")

    with pytest.raises(KindError) as caught:
        broker_kind("ours://h")
    config, problems = check_bytes(b'app = "a"\nbroker = "ours://h"\n[worker.a]\n', "t.toml", {})

    assert config is None
    for text in (str(caught.value), str(problems[0])):
        assert said in text
        assert "of the package their-package" in text
        assert "pip uninstall their-package" in text


def test_two_packages_with_one_name_are_both_named(install: Install) -> None:
    install("[taskd.pools]\nours = records:POOL\n")
    install("[taskd.pools]\nours = records:OTHER\n", "other-package")

    with pytest.raises(KindError, match=r"has one of that name too; uninstall one of the two") as caught:
        pool_kind("ours")
    assert "their-package" in str(caught.value)
    assert "other-package" in str(caught.value)


@pytest.mark.parametrize("arguments", [["--help"], ["help"]])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_module:verb", "does not load (ModuleNotFoundError"),
        ("their_verbs:nothing", "does not load (AttributeError"),
        ("broken:verb", "does not load (RuntimeError: first"),
        ("leaving:verb", "does not load (SystemExit: 3)"),
        ("their_verbs:NOT_ONE", "their_verbs:NOT_ONE is not a command of click"),
    ],
)
def test_the_help_stands_beside_a_verb_that_is_broken(
    install: Install, capfd: pytest.CaptureFixture[str], arguments: list[str], value: str, reason: str
) -> None:
    install(f"[taskd.commands]\nbad = {value}\nhello = their_verbs:hello\n")

    status = main(arguments)

    out, err = capfd.readouterr()
    assert status == 0
    assert "  status " in out
    assert "  hello " in out
    assert "  bad " not in out
    (line,) = err.splitlines()
    assert line.startswith('taskctl: the entry point "bad" (taskd.commands) of the package their-package: ')
    assert reason in line
    assert "pip uninstall their-package" in line


@pytest.mark.parametrize("value", ["no_such_module:verb", "leaving:verb", "their_verbs:NOT_ONE"])
def test_a_broken_verb_that_is_called_is_told_with_its_package_and_the_remedy(
    install: Install, capfd: pytest.CaptureFixture[str], value: str
) -> None:
    install(f"[taskd.commands]\nbad = {value}\n")

    status = main(["bad"])

    err = capfd.readouterr().err
    assert status == exit_codes.CONFIG
    assert 'the entry point "bad" (taskd.commands) of the package their-package: ' in err
    assert "pip uninstall their-package" in err


@pytest.mark.parametrize("name", ["status", "help"])
def test_a_verb_named_as_one_of_taskctl_costs_no_other(
    install: Install, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    install(f"[taskd.commands]\n{name} = their_verbs:hello\nhello = their_verbs:hello\n")

    assert main(["hello"]) == 0
    assert capfd.readouterr() == ("hello\n", "")
    assert main(["status", "--help"]) == 0
    assert "Usage: taskctl status" in capfd.readouterr().out
    assert main(["help"]) == 0
    out, err = capfd.readouterr()
    assert "Of other packages:\n  hello  Greet.\n" in out
    (line,) = err.splitlines()
    assert f'"{name}" (taskd.commands) of the package their-package: taskd has one of that name; ' in line
    assert "pip uninstall their-package" in line


def test_a_verb_of_two_packages_is_refused_and_costs_no_other(
    install: Install, capfd: pytest.CaptureFixture[str]
) -> None:
    install("[taskd.commands]\nparcels = their_verbs:hello\nhello = their_verbs:hello\n")
    install("[taskd.commands]\nparcels = other:verb\n", "other-package")

    assert main(["hello"]) == 0
    assert capfd.readouterr() == ("hello\n", "")
    assert main(["parcels"]) == exit_codes.CONFIG
    refused = capfd.readouterr().err
    assert main(["--help"]) == 0
    out, told = capfd.readouterr()
    assert "  hello " in out
    assert "  parcels " not in out
    for text in (refused, told):
        assert len(text.splitlines()) == 1
        assert '"parcels"' in text
        assert "their-package" in text
        assert "other-package" in text
        assert "uninstall one of the two" in text


def test_the_shell_is_offered_the_verbs_beside_a_broken_one(install: Install) -> None:
    install("[taskd.commands]\nbad = no_such_module:verb\nhello = their_verbs:hello\n")

    offered = {item.value for item in ShellComplete(cli, {}, "taskctl", "_C").get_completions([], "")}

    assert {"hello", "status"} <= offered
    assert "bad" not in offered


def test_a_configuration_of_taskd_s_own_kinds_reads_no_entry_points() -> None:
    code = (
        "import sys; from taskd.config.load import check_bytes; "
        "config, problems = check_bytes(b'app = \"a\"\\nbroker = \"redis://h\"\\n[worker.a]', 't', {}); "
        "assert config.broker_kind and config.result_kind and config.workers['a'].kind; "
        "assert 'importlib.metadata' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_verb_of_the_page_works(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verbs = PAGE.read_text().partition("\n## Verbs\n")[2]
    (module,) = re.findall(r"```python\n(.*?)```", verbs, re.DOTALL)
    (project,) = re.findall(r"```toml\n(.*?)```", verbs, re.DOTALL)
    (tmp_path / "shop_backlog.py").write_text(module)
    points = tomli.loads(project)["project"]["entry-points"]["taskd.commands"]
    install("[taskd.commands]\n" + "".join(f"{name} = {place}\n" for name, place in points.items()))
    (tmp_path / "taskd.toml").write_text('broker = "sqlite://broker.db"\n')
    there = ["--config", str(tmp_path / "taskd.toml")]
    assert main([*there, "send", "shop.add"]) == exit_codes.OK
    assert main([*there, "send", "shop.add"]) == exit_codes.OK
    capsys.readouterr()

    assert main([*there, "backlog"]) == exit_codes.OK
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["QUEUE", "WAITING"],
        ["default", "2"],
    ]
    assert main([*there, "backlog", "--over", "1", "--json"]) == exit_codes.FAILURE
    assert json.loads(capsys.readouterr().out)["waiting"] == {"default": 2}
    assert main([*there, "backlog", "--over", "2"]) == exit_codes.OK
    assert main([*there, "backlog", "--help"]) == exit_codes.OK
    assert "Example: taskctl backlog --over 1000" in capsys.readouterr().out
