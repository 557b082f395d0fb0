"""Tables of programs for a configuration file."""

from __future__ import annotations

import json
import sys


def program(name: str, *command: str, **keys: object) -> str:
    """Return a table of the configuration; the values are written as JSON, which TOML reads for these."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if not isinstance(value, dict)]
    lines += [
        f"{key} = {{ {', '.join(f'{name} = {json.dumps(each)}' for name, each in value.items())} }}"
        for key, value in keys.items()
        if isinstance(value, dict)
    ]
    return "\n".join([f"[program.{name}]", f"command = {json.dumps(command)}", *lines, ""])


def python(code: str, *arguments: str) -> tuple[str, ...]:
    """Return a command that runs some code in Python."""
    return (sys.executable, "-S", "-c", code, *arguments)
