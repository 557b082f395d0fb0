"""mypy sees through the decorator: what a task takes is what ``delay`` takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent


def test_wrong_arguments_to_a_task_are_type_errors_and_right_ones_are_not() -> None:
    files = [_HERE / "accepted.py", _HERE / "refused.py"]
    expected = {
        (file.name, number)
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if line.endswith("# error")
    }

    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *map(str, files)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    found = {
        (Path(match[1]).name, int(match[2]))
        for match in re.finditer(r"^(.+?):(\d+): error:", run.stdout, re.M)
    }
    found = {place for place in found if place[0] in {file.name for file in files}}
    assert found == expected, run.stdout + run.stderr
    assert len(expected) > 10
