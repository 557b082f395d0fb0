"""The differences between two configurations, key by key.  Pure, and safe to show: secrets are masked.

A table that only one of them has is one change.  How each change comes in force is declared at
its key (``option.Applies``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from taskd.config.key_values import KeyValue, NamedTable, walk
from taskd.config.option import Applies
from taskd.config.provenance import KeyPath
from taskd.config.schema import Config


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


def diff(old: Config, new: Config) -> tuple[Change, ...]:
    """Return what differs, in the order of the old configuration, then what only the new one has."""
    before = dict(walk(old))
    after = dict(walk(new))
    changes = []
    for path in {**before, **after}:
        if _inside_one_sided_table(path, before, after):
            continue
        was = before.get(path)
        will = after.get(path)
        if was is None or will is None:
            difference = Difference.ADDED if was is None else Difference.REMOVED
            changes.append(Change(path, difference, _shown(was), _shown(will), _applies(was or will)))
        elif was != will:
            changes.append(Change(path, Difference.CHANGED, _shown(was), _shown(will), _applies(will)))
    return tuple(changes)


def _inside_one_sided_table(
    path: KeyPath, before: Mapping[KeyPath, object], after: Mapping[KeyPath, object]
) -> bool:
    tables = (path[:length] for length in range(1, len(path)))
    return any((table in before) != (table in after) for table in tables)


def _shown(side: KeyValue | NamedTable | None) -> str:
    return side.shown if isinstance(side, KeyValue) else ""


def _applies(side: KeyValue | NamedTable | None) -> Applies:
    if side is None:
        return Applies.ROLL
    return side.option.applies if isinstance(side, KeyValue) else side.applies
