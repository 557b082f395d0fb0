"""Find the Python of a command of Celery's: it imports the app, and runs the workers that are written."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace

from taskd.cli.importing.sources import CeleryStart

_SHEBANG = re.compile(rb"#!\s*(/\S*/python[0-9.]*)\s*$", re.MULTILINE)
_LONGEST_LINE = 512
_NAMES = ("python3", "python")


def with_interpreters(starts: Sequence[CeleryStart], directory: str) -> list[CeleryStart]:
    """Return the starts with the Python of each, or with a line that names what hides it.

    ``directory`` is that of relative paths where a start has none.
    """
    return [_with_interpreter(start, start.directory or directory) for start in starts]


def _with_interpreter(start: CeleryStart, directory: str) -> CeleryStart:
    program = _program(start, directory)
    if not program:
        return start
    if program.endswith(" run") or "$" in program or "%" in program:
        return _unknown(start, f'"{program}" decides which Python runs Celery')
    python = _python_of(os.path.join(directory, program))
    if not python:
        return _unknown(start, f"no Python is found beside {program} on this host")
    is_own = os.path.realpath(os.path.dirname(python)) == os.path.realpath(os.path.dirname(sys.executable))
    return start if is_own else replace(start, interpreter=python)


def _unknown(start: CeleryStart, reason: str) -> CeleryStart:
    line = (
        f"{reason}, so {sys.executable} imported the app; import again with --interpreter PYTHON, "
        "or write interpreter into the tables that need it"
    )
    return replace(start, not_read=(*start.not_read, line))


def _program(start: CeleryStart, directory: str) -> str:
    """Return the path of celery or of a Python, or a launcher; empty where the file does not tell."""
    runner = start.command.runner
    if "/" in runner or runner.endswith(" run"):
        return runner
    virtualenv = start.virtualenv or start.environment.get("VIRTUAL_ENV", "")
    if virtualenv:
        return os.path.join(virtualenv, "bin", runner or "celery")
    path = start.environment.get("PATH", "")
    places = [os.path.join(directory, place) for place in path.split(os.pathsep) if place]
    return shutil.which(runner, path=os.pathsep.join(places)) or "" if runner and places else ""


def _python_of(program: str) -> str:
    """Return the Python itself, the one that the first line of a script names, or the one beside it."""
    if os.path.basename(program).startswith("python"):
        return program if os.access(program, os.X_OK) else ""
    try:
        with open(program, "rb") as file:
            first = file.readline(_LONGEST_LINE)
    except OSError:
        return ""
    named = _SHEBANG.match(first)
    beside = (os.path.join(os.path.dirname(program), name) for name in _NAMES)
    candidates = [os.fsdecode(named[1])] if named else []
    return next((each for each in (*candidates, *beside) if os.access(each, os.X_OK)), "")
