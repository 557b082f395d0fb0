"""The entries of all sources in one view: which one counts, and which it shadows.  Pure.

An entry that an operator made at run time goes before one of the file with the same name, and that before one
that the app's code declares.  Pausing goes by the name, whatever the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from hashlib import blake2b
from operator import attrgetter

import msgspec

from taskd.base.errors import SerializationError
from taskd.config.schedule import BeatEntryConfig, WhenConfig
from taskd.protocol import budget

_when = attrgetter(*(each.name for each in fields(WhenConfig)))


class EntrySource(Enum):
    """Where an entry comes from, the strongest first."""

    RUN_TIME = "run-time"
    FILE = "file"
    APP = "app"


@dataclass(frozen=True, slots=True)
class Pause:
    """An entry is, or was, not to fire: from ``since_at``, until ``until_at`` when that is not None."""

    since_at: float
    until_at: float | None
    by: str

    @property
    def is_on(self) -> bool:
        """Whether it holds now."""
        return self.until_at is None


@dataclass(frozen=True, slots=True)
class Listed:
    """The entry that counts under a name."""

    entry: BeatEntryConfig
    source: EntrySource
    #: The sources whose entry of this name does not count.
    shadows: tuple[EntrySource, ...] = ()
    pause: Pause | None = None
    #: Every run up to this wall-clock second is decided; ``inf``: all up to now.
    since: float = math.inf

    @property
    def is_paused(self) -> bool:
        """Whether it does not fire."""
        return self.pause is not None and self.pause.is_on


@dataclass(slots=True)
class Listing:
    """The entries by source; ``listed`` looks one name up in all of them."""

    by_source: dict[EntrySource, dict[str, BeatEntryConfig]] = field(
        default_factory=lambda: {source: {} for source in EntrySource}
    )
    #: The same dictionaries in order: hashing a member of an enum is slow where there are many entries.
    _ordered: tuple[tuple[EntrySource, dict[str, BeatEntryConfig]], ...] = ()
    pauses: dict[str, Pause] = field(default_factory=dict)
    #: Of entries that the app's code declares: up to when their runs are decided.
    since: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ordered = tuple(self.by_source.items())

    def names(self) -> Iterable[str]:
        """Return every name once, in order."""
        return sorted({name for entries in self.by_source.values() for name in entries})

    def listed(self, name: str) -> Listed | None:
        """Return what counts under a name, None when there is no such entry."""
        strongest: EntrySource | None = None
        entry: BeatEntryConfig | None = None
        shadows: tuple[EntrySource, ...] = ()
        for source, entries in self._ordered:  # a loop: this runs for each of many entries at the start
            if name in entries:
                if strongest is None:
                    strongest = source
                    entry = entries[name]
                else:
                    shadows = (*shadows, source)
        if strongest is None or entry is None:
            return None
        since = self.since.get(name, math.inf) if strongest is EntrySource.APP else math.inf
        return Listed(entry, strongest, shadows, self.pauses.get(name), since)

    def replace(self, source: EntrySource, entries: Mapping[str, BeatEntryConfig]) -> set[str]:
        """Set all entries of a source; return the names that are touched."""
        current = self.by_source[source]
        if not current:  # as at the start, with all of many entries
            current.update(entries)
            return set(entries)
        former = dict(current)
        current.clear()
        current.update(entries)
        return {name for name in (*former, *entries) if former.get(name) != entries.get(name)}


def schedule_text(entry: BeatEntryConfig) -> str:
    """Return a digest of what says when the entry fires; with another one its past means nothing."""
    return blake2b(repr(_when(entry)).encode(), digest_size=9).hexdigest()


def keys_of(entry: BeatEntryConfig) -> dict[str, object]:
    """Return the keys of an entry that are not at their default, as they may be given anew."""
    found: dict[str, object] = {}
    for each in fields(entry):
        value = getattr(entry, each.name)
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if value != default:
            found[each.name] = list(value) if isinstance(value, tuple) else value
    return found


def encode_entry(entry: BeatEntryConfig) -> bytes:
    """Return the entry as a store keeps it."""
    return msgspec.json.encode(entry)


def decode_entry(data: bytes) -> BeatEntryConfig:
    """Read a kept entry.  Raises: ``ValueError`` for something else."""
    try:
        budget.check_json(data, "the entry")
        return msgspec.json.decode(data, type=BeatEntryConfig)
    except (SerializationError, RecursionError) as error:
        raise ValueError(f"the entry cannot be read: {error}") from error
