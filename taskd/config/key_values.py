"""All keys of a configuration with their values, safe to show: secrets are masked.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace

from taskd.base.urls import MASK, masked
from taskd.config.file_value import Option
from taskd.config.option import Applies, ValueForm
from taskd.config.provenance import KeyPath
from taskd.config.written import written

#: Where the schema has many of what the file has one table each.
_TABLE_NAMES = {"workers": "worker", "programs": "program"}
#: Beat takes its entries over while it goes on.
_OF_TABLES = {"schedule": Applies.LIVE}


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key with its value."""

    value: object
    option: Option

    @property
    def shown(self) -> str:
        """The value as written in a file, without secrets."""
        if not self.option.secret or self.value in ("", {}):
            return written(self.value, self.option.kind)
        return f'"{masked(str(self.value))}"' if self.option.kind is ValueForm.URL else MASK


@dataclass(frozen=True, slots=True)
class NamedTable:
    """A table whose name the user chose; ``applies``: what it takes until one more or less is in force."""

    applies: Applies


def walk(table: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, KeyValue | NamedTable]]:
    """Yield all keys of a configuration by their paths, and the tables with chosen names, in order."""
    assert is_dataclass(table)
    for field in fields(table):
        value = getattr(table, field.name)
        here = (*path, _TABLE_NAMES.get(field.name, field.name))
        if "kind" in field.metadata:
            yield from _leaves(value, Option(**field.metadata), here)
        elif is_dataclass(value):
            yield from walk(value, here)
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                yield (*here, name), NamedTable(_OF_TABLES.get(field.name, Applies.ROLL))
                yield from walk(inner, (*here, name))


def _leaves(value: object, option: Option, path: KeyPath) -> Iterator[tuple[KeyPath, KeyValue]]:
    if isinstance(value, Mapping) and (option.kind is ValueForm.TEXT_MAP or (option.secret and value)):
        # Variables of an environment, options of a library: one may have changed, any may hold a password.
        secret = replace(option, kind=ValueForm.TEXT, secret=True)
        yield from (((*path, name), KeyValue(text, secret)) for name, text in value.items())
    else:
        yield path, KeyValue(value, option)
