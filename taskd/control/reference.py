"""Print the tables of ``docs/remote-control.md``: ``python -m taskd.control.reference``."""

from __future__ import annotations

import sys

from taskd.protocol.commands import COMMANDS, CommandKind, CommandSpec


def table(kind: CommandKind) -> str:
    """Return the commands of one kind as a table in Markdown."""
    rows = [_row(spec) for spec in COMMANDS if spec.kind is kind and not spec.hidden]
    return "\n".join(("| name | purpose | arguments |", "|---|---|---|", *rows)) + "\n"


def _row(spec: CommandSpec) -> str:
    name = f"`{spec.name}`{'*' if spec.ours else ''}"
    arguments = "; ".join(
        f"`{each.name}` {each.about}{'' if each.required else ', optional'}" for each in spec.arguments
    )
    return f"| {name} | {spec.about} | {arguments} |"


def main() -> None:
    """Print both tables."""
    sys.stdout.write("\n".join(table(kind) for kind in CommandKind))


if __name__ == "__main__":
    main()
