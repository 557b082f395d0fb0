"""Kinds and verbs of other packages: what is wrong with one is told with its package and the remedy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskd.cli import verbs
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

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package with these entry points for this process."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "records.py").write_text(RECORDS)

    def made(text: str, package: str = "their-package") -> None:
        write_entry_points(tmp_path, package, text)
        installed._entry_points.cache_clear()

    yield made
    sys.modules.pop("records", None)
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


def test_a_verb_that_taskctl_has_itself_is_refused(install: Install) -> None:
    install("[taskd.commands]\nstatus = records:POOL\n")

    with pytest.raises(
        KindError, match=r'entry point "status" \(taskd\.commands\) of the package their-package'
    ):
        verbs.find("ours")
    assert verbs.find("status") is not None


def test_a_verb_that_is_not_a_command_is_refused(install: Install) -> None:
    install("[taskd.commands]\nours = records:POOL\n")

    with pytest.raises(KindError, match='the verb "ours" is not a command of click: records:POOL'):
        verbs.find("ours")


def test_a_configuration_of_taskd_s_own_kinds_reads_no_entry_points() -> None:
    code = (
        "import sys; from taskd.config.load import check_bytes; "
        "config, problems = check_bytes(b'app = \"a\"\\nbroker = \"redis://h\"\\n[worker.a]', 't', {}); "
        "assert config.broker_kind and config.result_kind and config.workers['a'].kind; "
        "assert 'importlib.metadata' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
