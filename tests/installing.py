"""Installs packages into directories, without network: those of others, which extend taskd."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

THIRD_PARTY = Path(__file__).parent / "third_party"


def install_third_party(directory: Path) -> Path:
    """Install the package under ``tests/third_party``; return the directory for ``PYTHONPATH``."""
    source, target = directory / "source", directory / "site"
    shutil.copytree(THIRD_PARTY, source)  # a build leaves files behind
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


def write_entry_points(directory: Path, package: str, text: str) -> None:
    """Make a directory look as if a package with these entry points were installed there."""
    info = directory / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(text)
