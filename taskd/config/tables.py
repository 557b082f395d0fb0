"""Walk the tables of a TOML document along the schema's dataclasses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from taskd.config.control import ControlConfig
from taskd.config.daemon import LogConfig, SupervisorConfig
from taskd.config.file_value import BAD, Option, show
from taskd.config.programs import ProgramConfig, WorkerConfig
from taskd.config.provenance import KeyPath
from taskd.config.report import ProblemReport
from taskd.config.schedule import BeatConfig, BeatEntryConfig
from taskd.config.schema import Config
from taskd.config.security import SecurityConfig
from taskd.config.stores import AmqpConfig, FailuresConfig, RedisConfig, SqliteConfig
from taskd.config.values import convert

T = TypeVar("T", WorkerConfig, ProgramConfig, BeatEntryConfig)
Table = Mapping[str, object]

#: Of workers and of entries.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}", re.ASCII)
NAME_FORM = "a name of letters, digits, - and _, at most 100"
#: The tables that are there once, by their key.
SINGLE_TABLES: Mapping[str, type] = {
    "supervisor": SupervisorConfig,
    "control": ControlConfig,
    "security": SecurityConfig,
    "log": LogConfig,
    "sqlite": SqliteConfig,
    "redis": RedisConfig,
    "amqp": AmqpConfig,
    "failures": FailuresConfig,
}


def options(table_class: type) -> dict[str, tuple[Option, Field[Any]]]:
    """Return the keys that a table of the schema may have, in the order of the schema."""
    return {
        each.name: (Option(**each.metadata), each) for each in fields(table_class) if "kind" in each.metadata
    }


def read_document(document: Table, path: str, report: ProblemReport) -> Config:
    """Return the configuration and note what is wrong with its keys, one by one.

    A key that is wrong has its default in the result, so that ``rules`` can judge the rest.  Before it
    uses the result, a caller asks ``report.failed``.
    """
    nested = (*SINGLE_TABLES, "worker", "program", "beat")
    own = {key: value for key, value in document.items() if key not in nested}
    top = _options_of(Config, own, (), report, also_known=nested)
    singles = {
        key: table_class(**_options_of(table_class, _sub_table(document, key, (), report), (key,), report))
        for key, table_class in SINGLE_TABLES.items()
    }
    workers = _named(WorkerConfig, _sub_table(document, "worker", (), report), ("worker",), report)
    programs = _named(ProgramConfig, _sub_table(document, "program", (), report), ("program",), report)
    beat = _sub_table(document, "beat", (), report)
    own = {key: value for key, value in beat.items() if key != "schedule"}
    of_beat = _options_of(BeatConfig, own, ("beat",), report, also_known=("schedule",))
    entries = _sub_table(beat, "schedule", ("beat",), report)
    schedule = _named(BeatEntryConfig, entries, ("beat", "schedule"), report)
    named = {"workers": workers, "programs": programs, "beat": BeatConfig(**of_beat, schedule=schedule)}
    return Config(**{**top, **singles, **named, "path": path})


def _named(table_class: type[T], table: Table, path: KeyPath, report: ProblemReport) -> dict[str, T]:
    """Read the tables whose last part is a name that the user chose."""
    known = options(table_class)
    result: dict[str, T] = {}
    for name, value in table.items():
        here = (*path, name)
        if not isinstance(value, dict):
            wrong = f"{show(value)} is not accepted"
            report.error(
                here, wrong, f"a table [{'.'.join(path)}.NAME] around the key", word=name, known=known
            )
            continue
        if not NAME.fullmatch(name):
            report.error(here, f'the name "{name}" is not accepted', NAME_FORM)
        result[name] = table_class(name=name, **_options_of(table_class, value, here, report))
    return result


def read_keys(table_class: type, table: Table, path: KeyPath, report: ProblemReport) -> dict[str, Any]:
    """Return the options of one table that does not stand in a file, as for ``read_document``."""
    return _options_of(table_class, table, path, report)


def _options_of(
    table_class: type, table: Table, path: KeyPath, report: ProblemReport, also_known: tuple[str, ...] = ()
) -> dict[str, Any]:
    known = options(table_class)
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            report.unknown((*path, key), key, (*known, *also_known))
            continue
        converted = convert(known[key][0], value, (*path, key), report)
        if converted is not BAD:
            found[key] = converted
    for key, (option, field) in known.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if required and key not in table:
            report.error(
                (*path, key), "the key is missing", f"{option.kind.value}: {option.help.rstrip('.')}"
            )
        if required:
            found.setdefault(key, "")  # noted as wrong; the rest of the table is still judged
    return found


def _sub_table(table: Table, key: str, path: KeyPath, report: ProblemReport) -> Table:
    value = table.get(key, {})
    if isinstance(value, dict):
        return value
    report.error((*path, key), f"{show(value)} is not accepted", f"a table [{'.'.join((*path, key))}]")
    return {}
