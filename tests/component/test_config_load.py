"""Reading the configuration file from the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskd.base.errors import ConfigError
from taskd.config.load import check, load


def test_a_file_is_loaded_with_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taskd.toml").write_text('broker = "sqlite://b.db"\n[worker.w]\napp = "shop:app"\n')
    monkeypatch.chdir(tmp_path)

    config = load("taskd.toml")

    assert config.path == str(tmp_path / "taskd.toml")
    assert config.broker == f"sqlite://{tmp_path}/b.db"


def test_the_error_of_a_bad_file_lists_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "taskd.toml"
    path.write_text('ap = 1\n[log]\nlevel = "loud"\n')

    with pytest.raises(ConfigError) as raised:
        load(str(path))

    assert str(raised.value).splitlines() == [
        f'{path}:1: ap: unknown key; did you mean "app"?',
        f'{path}:3: log.level: "loud" is not accepted; expected one of debug, info, warning, error',
    ]


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        config, problems = check(str(path))

        assert config is None
        assert str(problems[0]).startswith(f"{path}: the file cannot be read ({reason}")
        assert "TASKD_CONFIG" in str(problems[0])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "taskd.toml"
    path.touch(mode=0)

    assert "Permission denied" in str(check(str(path))[1][0])


def test_loading_imports_nothing_heavy(tmp_path: Path) -> None:
    path = tmp_path / "taskd.toml"
    path.write_text('[worker.w]\napp = "shop:app"\n[beat.schedule.x]\ntask = "t"\nevery = "1s"\n')
    heavy = {"difflib", "cronsim", "zoneinfo", "asyncio", "click", "kombu", "logging", "subprocess"}
    program = f"""
import sys
before = set(sys.modules)
from taskd.config.load import load
load({str(path)!r})
print(*sorted((set(sys.modules) - before) & {heavy!r}))
"""

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.split() == []
