"""What differs between two configurations, key by key.  Pure, and safe to show: secrets are masked.

A table that only one of them has is one change.  What each change takes to be in force is declared at
its key (``option.Applies``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum

from taskd.config.given import Option
from taskd.config.option import Applies, Kind
from taskd.config.provenance import KeyPath
from taskd.config.schema import Config
from taskd.config.written import written

#: Where the schema has many of what the file has one table each.
_TABLE_NAMES = {"workers": "worker", "programs": "program"}
MASK = "***"


class Difference(Enum):
    """How something differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One key or table that differs; ``old`` and ``new`` are as written in a file, empty where it lacks."""

    path: KeyPath
    difference: Difference
    old: str = ""
    new: str = ""
    applies: Applies = Applies.ROLL

    @property
    def key(self) -> str:
        """The path with dots, such as ``worker.mail.queues``."""
        return ".".join(self.path)

    def __str__(self) -> str:
        if self.difference is not Difference.CHANGED:
            value = self.old or self.new
            return f"{self.key}: {self.difference.value}" + (f" ({value})" if value else "")
        if self.old == self.new:
            return f"{self.key}: changed (not shown)"
        return f"{self.key}: {self.old} -> {self.new}"


@dataclass(frozen=True, slots=True)
class _Leaf:
    value: object
    option: Option

    @property
    def shown(self) -> str:
        if not self.option.secret:
            return written(self.value, self.option.kind)
        return f'"{_without_secrets(str(self.value))}"' if self.option.kind is Kind.URL else MASK


@dataclass(frozen=True, slots=True)
class _Table:
    """A table whose name the user chose."""


def diff(old: Config, new: Config) -> tuple[Change, ...]:
    """Return what differs, in the order of the old configuration, then what only the new one has."""
    before, after = dict(_walk(old, ())), dict(_walk(new, ()))
    changes = []
    for path in {**before, **after}:
        if _inside_one_sided_table(path, before, after):
            continue
        was, will = before.get(path), after.get(path)
        if was is None or will is None:
            difference = Difference.ADDED if was is None else Difference.REMOVED
            changes.append(Change(path, difference, _shown(was), _shown(will), _applies(was or will)))
        elif was != will:
            changes.append(Change(path, Difference.CHANGED, _shown(was), _shown(will), _applies(will)))
    return tuple(changes)


def _walk(table: object, path: KeyPath) -> Iterator[tuple[KeyPath, _Leaf | _Table]]:
    assert is_dataclass(table)
    for field in fields(table):
        value = getattr(table, field.name)
        here = (*path, _TABLE_NAMES.get(field.name, field.name))
        if "kind" in field.metadata:
            yield from _leaves(value, Option(**field.metadata), here)
        elif is_dataclass(value):
            yield from _walk(value, here)
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                yield (*here, name), _Table()
                yield from _walk(inner, (*here, name))


def _leaves(value: object, option: Option, path: KeyPath) -> Iterator[tuple[KeyPath, _Leaf]]:
    if option.kind is Kind.TEXT_MAP and isinstance(value, Mapping):
        # Variables of an environment: one may have changed, and any may hold a password.
        secret = replace(option, kind=Kind.TEXT, secret=True)
        yield from (((*path, name), _Leaf(text, secret)) for name, text in value.items())
    else:
        yield path, _Leaf(value, option)


def _inside_one_sided_table(
    path: KeyPath, before: Mapping[KeyPath, object], after: Mapping[KeyPath, object]
) -> bool:
    tables = (path[:length] for length in range(1, len(path)))
    return any((table in before) != (table in after) for table in tables)


def _shown(side: _Leaf | _Table | None) -> str:
    return side.shown if isinstance(side, _Leaf) else ""


def _applies(side: _Leaf | _Table | None) -> Applies:
    return side.option.applies if isinstance(side, _Leaf) else Applies.ROLL


def _without_secrets(url: str) -> str:
    """Return a URL without its password and its parameters, which may hold one."""
    scheme, separator, rest = url.partition("://")
    rest, question, _ = rest.partition("?")
    authority, slash, path = rest.partition("/")
    credentials, at, host = authority.rpartition("@")
    user = credentials.partition(":")[0]
    who = f"{user}:{MASK}@" if at else ""
    return f"{scheme}{separator}{who}{host}{slash}{path}" + (f"?{MASK}" if question else "")
