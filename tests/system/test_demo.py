"""The demo of the README does what it says, with many files and with hardly any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from taskd.config.load import load
from tests.system.daemon import ROOT

RUN = ROOT / "examples" / "digest" / "run.py"


def demo(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the demo's driver."""
    return subprocess.run(
        [sys.executable, str(RUN), *words], capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.parametrize("files", [0, 3])
def test_a_directory_of_few_files_is_digested(tmp_path: Path, files: int) -> None:
    for number in range(files):
        (tmp_path / f"file-{number}").write_text(f"file {number}\n" * 100)

    done = demo(str(tmp_path))

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ok: {2 * files + 4} jobs, none lost" in done.stdout


def test_a_kill_half_way_through_the_standard_library_loses_nothing() -> None:
    done = demo("--limit", "500")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed pool child" in done.stdout
    assert "ok: 1,004 jobs, none lost, every checksum verified" in done.stdout


def test_the_daemon_of_the_example_writes_nowhere_but_below_its_directory(tmp_path: Path) -> None:
    config = load(str(RUN.with_name("taskd.toml")), {"DIGEST_STATE": str(tmp_path)})

    written = [
        config.broker,
        config.results,
        config.supervisor.control_socket,
        config.supervisor.state_directory,
    ]
    assert [place for place in written if str(tmp_path) not in place] == []
