"""Write a plan as the text of a taskd.toml, with comments, and its secrets as a file of variables.  Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

from taskd.cli.importing.plan import ImportedTable, ImportPlan
from taskd.config.option import ValueForm
from taskd.config.programs import ProgramConfig, WorkerConfig
from taskd.config.schedule import BeatConfig
from taskd.config.schema import Config
from taskd.config.tables import SINGLE_TABLES, options
from taskd.config.written import written
from taskd.sending.celery_facts import CeleryFacts

_BY_KIND: Mapping[str, type] = {
    "": Config,
    "worker": WorkerConfig,
    "program": ProgramConfig,
    "beat": BeatConfig,
    **SINGLE_TABLES,
}
_ORDER = ("", *SINGLE_TABLES, "worker", "program", "beat")
_MOST_ENTRIES = 30


def text_of(plan: ImportPlan, facts: CeleryFacts, secrets_path: str = "") -> str:
    """Return the file; ``secrets_path`` is the file of variables beside it."""
    lines = [
        f"# Written by taskctl import celery, from {_in_comment(facts.app)} (Celery {facts.celery_version}).",
        "# docs/celery.md tells how workers of both run side by side, and how to go back.",
    ]
    if plan.secrets:
        where = secrets_path or "the environment of taskd"
        lines += [
            f"# The passwords are in {_in_comment(where)}: {', '.join(plan.secrets)}.",
            "# The daemon needs them in its environment (EnvironmentFile= in a drop-in of its unit), and so",
            f"# does a check: set -a; . {_in_comment(_for_shell(secrets_path))}; set +a",
        ]
    if plan.decisions:
        lines += ["#", "# To decide:", *(f"# - {_in_comment(each)}" for each in plan.decisions)]
    lines.append("")
    for name in sorted(plan.tables, key=_rank):
        lines += [*_table(name, plan.tables[name]), ""]
    lines += _schedule(facts)
    return "\n".join(lines).rstrip() + "\n"


def _for_shell(path: str) -> str:
    # The shell looks for a name without a slash on its PATH.
    return shlex.quote(path if "/" in path else f"./{path or 'FILE'}")


def _rank(name: str) -> int:
    kind = name.partition(".")[0]
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _table(name: str, table: ImportedTable) -> Iterator[str]:
    known = options(_BY_KIND[name.partition(".")[0]])
    if name:
        yield f"[{name}]"
    for key, value in table.keys.items():
        kind = known[key][0].kind
        line = f"{key} = {written(_plain(value, kind), kind)}"
        origin = table.origins.get(key)
        yield f"{line}  # {_in_comment(origin)}" if origin else line


def _plain(value: object, kind: ValueForm) -> object:
    if kind is ValueForm.DURATION and isinstance(value, (int, float)):
        return float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _schedule(facts: CeleryFacts) -> Iterator[str]:
    if not facts.entries:
        return
    yield "# Entries of the app's beat_schedule; beat reads them, so they need not stand here:"
    for entry in facts.entries[:_MOST_ENTRIES]:
        yield f"#   {_in_comment(f'{entry.name}: {entry.task}, {entry.when}')}"
    if len(facts.entries) > _MOST_ENTRIES:
        yield f"#   and {len(facts.entries) - _MOST_ENTRIES} more"


def _in_comment(text: str) -> str:
    """Return a text that stays in the line of its comment, whatever others wrote into it."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def secrets_text(plan: ImportPlan) -> str:
    """Return the variables as a shell and systemd read them alike, whatever is in a value."""
    return "".join(f"{name}={_in_quotes(value)}\n" for name, value in plan.secrets.items())


def _in_quotes(value: str) -> str:
    # All stands for itself between single quotes; between double ones both take a backslash off these.
    return f"'{value}'" if "'" not in value else '"' + re.sub(r'(["\\\\$`])', r"\\\1", value) + '"'


def unwritable(plan: ImportPlan) -> list[str]:
    """Return the variables whose value no environment can hold."""
    return [name for name, value in plan.secrets.items() if "\0" in value]
