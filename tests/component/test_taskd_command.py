"""The ``taskd`` command before it becomes a daemon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from taskd import exit_codes
from taskd.version import __version__


def taskd(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taskd", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **(environ or {})},
        check=False,
    )


def wrong_file(tmp_path: Path) -> Path:
    file = tmp_path / "taskd.toml"
    file.write_text('app = "shop:app"\n[worker.mail]\nconcurency = 4\npool = "magic"\n')
    return file


def test_version() -> None:
    done = taskd("--version")

    assert (done.returncode, done.stdout) == (exit_codes.OK, f"taskd {__version__}\n")


def test_check_prints_every_problem_with_its_line(tmp_path: Path) -> None:
    file = wrong_file(tmp_path)

    done = taskd("--check", "--config", str(file))

    assert done.returncode == exit_codes.CONFIG
    lines = done.stderr.splitlines()
    assert any(line.startswith(f"{file}:3: worker.mail.concurency: ") for line in lines)
    assert any(line.startswith(f"{file}:4: worker.mail.pool: ") for line in lines)
    assert "Traceback" not in done.stderr


def test_a_daemon_with_a_wrong_configuration_does_not_start_and_says_the_same(tmp_path: Path) -> None:
    file = wrong_file(tmp_path)

    started = taskd(environ={"TASKD_CONFIG": str(file)})

    assert started.returncode == exit_codes.CONFIG
    assert started.stderr == taskd("--check", "--config", str(file)).stderr


def test_check_of_a_right_configuration(tmp_path: Path) -> None:
    file = tmp_path / "taskd.toml"
    file.write_text('app = "shop:app"\n[worker.mail]\nconcurrency = 4\n')

    done = taskd("--check", "--config", str(file))

    assert (done.returncode, done.stdout) == (exit_codes.OK, f"{file}: configuration ok\n")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "nothing.toml"

    done = taskd("--config", str(file))

    assert done.returncode == exit_codes.CONFIG
    assert str(file) in done.stderr


def test_wrong_words_on_the_command_line_are_a_usage_error() -> None:
    done = taskd("--nonsense")

    assert done.returncode == exit_codes.USAGE
    assert "--nonsense" in done.stderr
