"""The reference page of the configuration, written from the schema.

``python -m taskd.config.reference > docs/configuration.md`` renews the page; a test compares.
"""

from __future__ import annotations

import sys
from dataclasses import MISSING, Field
from typing import Any

from taskd.config.control import ControlConfig
from taskd.config.daemon import LogConfig, SupervisorConfig
from taskd.config.file_value import Option
from taskd.config.option import ValueForm
from taskd.config.process import ProcessConfig
from taskd.config.programs import ProgramConfig, WorkerConfig
from taskd.config.provenance import KeyPath
from taskd.config.schedule import BeatConfig, BeatEntryConfig
from taskd.config.schema import Config
from taskd.config.security import SecurityConfig
from taskd.config.stores import AmqpConfig, FailuresConfig, RedisConfig, SqliteConfig
from taskd.config.tables import options
from taskd.config.written import written

_INTRODUCTION = """\
# Configuration

<!-- Written by `python -m taskd.config.reference`; do not edit. -->

`taskd`, `taskctl` and `App()` read the same TOML file. They take the first of these that is given or exists:

1. the file named by `--config FILE`;
2. the file named by the environment variable `TASKD_CONFIG`;
3. `taskd.toml` in the working directory, never for root. Its owner must be the present user or root, and it
   must not be writable for everybody. `taskd` names the file in its log, `taskctl` in its errors;
4. `/etc/taskd.toml`.

`taskd --check` (or `taskctl check`) reports every problem of a file with its line, and exits 78 if there is
an error. `etc/taskd.toml` is a complete example.

- **Durations** are texts with one unit, `"250ms"`, `"30s"`, `"5m"`, `"1.5h"`, `"2d"`, or a bare number of
  seconds.
- **Sizes** are texts such as `"64KiB"`, `"512MiB"`, `"1GB"` (10⁹ bytes), or a bare number of bytes.
- **Variables**: taskd replaces `${NAME}` in a text by the environment variable, so that passwords need not
  stand in the file. A variable that is not defined is an error; `${NAME:-text}` gives a default instead.
  Numbers, true and false may come from variables, too: `concurrency = "${SLOTS:-4}"`. `$${` is a plain `${`.
  The `args` and `kwargs` of beat entries are sent as they stand.
- **Task code** is imported from the program's working directory (`directory` of its table), from what is
  installed, and last from the directory of this file.
- **Relative paths** start at the directory of the file. This holds for `control_socket`, `state_directory`,
  `directory`, `env_file`, `interpreter`, a command with a slash, and `sqlite://file.db` with two slashes.
  `sqlite:///var/lib/taskd/broker.db` with three slashes is absolute.
- **Names** of workers, programs and beat entries consist of letters, digits, `-` and `_`. Worker `mail` with
  `processes = 2` runs the programs `mail-1` and `mail-2`.
"""

_TABLES: tuple[tuple[str, type], ...] = (
    ("Top level", Config),
    ("`[supervisor]`", SupervisorConfig),
    ("`[control]`", ControlConfig),
    ("`[security]`", SecurityConfig),
    ("`[log]`", LogConfig),
    ("`[sqlite]`", SqliteConfig),
    ("`[redis]`", RedisConfig),
    ("`[amqp]`", AmqpConfig),
    ("`[failures]`", FailuresConfig),
    ("Every process", ProcessConfig),
    ("`[worker.NAME]`", WorkerConfig),
    ("`[program.NAME]`", ProgramConfig),
    ("`[beat]`", BeatConfig),
    ("`[beat.schedule.NAME]`", BeatEntryConfig),
)


def render() -> str:
    """Return the page as Markdown."""
    return "\n".join([_INTRODUCTION, *(_table(title, cls) for title, cls in _TABLES)])


def declared(path: KeyPath) -> tuple[Option, Field[Any]] | None:
    """Return how the key at a path such as ``("worker", "mail", "queues")`` is declared, None if not."""
    for title, table_class in _TABLES:
        place = () if table_class is Config else tuple(title.strip("`[]").split("."))
        fits = len(place) == len(path) - 1 and all(
            part in {"NAME", given} for part, given in zip(place, path, strict=False)
        )
        if fits and path[-1] in (known := options(table_class)):
            return known[path[-1]]
    return None


def key_patterns() -> list[str]:
    """Return all keys, such as ``worker.NAME.queues``."""
    return [
        ("" if table_class is Config else title.strip("`[]") + ".") + key
        for title, table_class in _TABLES
        if table_class is not ProcessConfig  # its keys stand in the tables that have them
        for key in options(table_class)
    ]


def _table(title: str, table_class: type) -> str:
    # The keys of every process stand once, in a table of their own.
    is_process = issubclass(table_class, ProcessConfig) and table_class is not ProcessConfig
    elsewhere = set(ProcessConfig.__annotations__) - set(table_class.__annotations__) if is_process else ()
    about = (table_class.__doc__ or "").partition(": ")[2].strip()
    rows = [_row(name, *each) for name, each in options(table_class).items() if name not in elsewhere]
    head = ["| key | value | default | meaning |", "|---|---|---|---|"]
    return "\n".join(
        [f"## {title}", "", *([about[0].upper() + about[1:], ""] if about else []), *head, *rows, ""]
    )


def _row(name: str, option: Option, field: Field[Any]) -> str:
    cells = (f"`{name}`", value_text(option), default_text(option, field), option.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def value_text(option: Option) -> str:
    """Return what a key accepts, in Markdown."""
    low = option.minimum
    high = option.maximum
    if option.kind is ValueForm.CHOICE:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    if option.kind is ValueForm.URL:
        return ", ".join(f"`{scheme}://`" for scheme in option.choices)
    text = {
        ValueForm.PREFETCH: "`auto` or integer from 0",
        ValueForm.CRON: "five cron fields",
        ValueForm.ZONE: "IANA zone",
        ValueForm.MOMENT: "date-time",
    }.get(option.kind, option.kind.value)
    unit = " s" if option.kind is ValueForm.DURATION else ""
    if low is not None and high is not None:
        return f"{text}, {low:g} to {high:g}{unit}"
    # Durations from 0 are the rule and need no words.
    return text if not low else f"{text} from {low:g}{unit}"


def default_text(option: Option, field: Field[Any]) -> str:
    """Return the default of a key, in Markdown; ``required`` when there is none."""
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is MISSING:
        return "required"
    if value is None:
        return "none"
    return f"`{written(value, option.kind)}`"


if __name__ == "__main__":
    sys.stdout.write(render())
