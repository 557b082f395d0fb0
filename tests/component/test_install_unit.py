"""The unit and its files come from the wheel, and start the Python that wrote them."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest
from click.testing import CliRunner

import taskd
from taskd.cli import install_unit

ROOT = Path(taskd.__file__).parents[1]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    # The Python of the tests may lie anywhere; what is refused, tests/unit/test_doctor_reach.py knows.
    monkeypatch.setattr(install_unit, "unreachable", lambda *_: iter(()))
    return CliRunner()


def test_the_unit_starts_this_taskd_and_the_configuration_is_never_replaced(
    tmp_path: Path, runner: CliRunner
) -> None:
    words = ["--root", str(tmp_path), "--drop-in", "multi-user"]
    assert runner.invoke(install_unit.install_unit, words, standalone_mode=False).exception is None

    unit = (tmp_path / "etc/systemd/system/taskd.service").read_text()
    assert f"ExecStart={install_unit._scripts()}/taskd --config /etc/taskd.toml\n" in unit
    assert "/usr/bin/taskd" not in unit
    tmpfiles = (tmp_path / "etc/tmpfiles.d/taskd.conf").read_text()
    assert "z /etc/taskd.toml 0600 root root" in tmpfiles, "with several users only root may read it"
    assert (tmp_path / "etc/systemd/system/taskd.service.d/multi-user.conf").exists()
    config = tmp_path / "etc/taskd.toml"
    assert config.read_text() == (ROOT / "etc/taskd.toml").read_text()

    config.write_text("mine")
    runner.invoke(install_unit.install_unit, words, standalone_mode=False)

    assert config.read_text() == "mine"


def test_the_wheel_carries_every_file_of_the_unit() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    line = next(each for each in text.splitlines() if each.startswith('taskd = ["py.typed"'))
    patterns = [each.strip(' "]') for each in line.partition("[")[2].split(",")]
    shipped = [
        f"shipped/systemd/{p.relative_to(ROOT / 'systemd')}"
        for p in (ROOT / "systemd").rglob("*.*")
        if p.is_file()
    ]

    assert len(shipped) > 5
    # Here a star matches no slash.
    assert [
        name
        for name in [*shipped, "shipped/taskd.toml"]
        if not any(fnmatch.fnmatch(name, each) and name.count("/") == each.count("/") for each in patterns)
    ] == []
