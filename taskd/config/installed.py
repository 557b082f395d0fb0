"""Kinds and verbs of other packages, which name them as entry points.

Reading entry points takes some 20 ms, so it is done only for a name that taskd itself does not have.  An
entry point ``parcels = "parcels.kinds:BROKER"`` of the group ``taskd.brokers`` names the record of a kind;
its name is the scheme, or the name of the pool.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from taskd.base.named import named
from taskd.config.kinds import BrokerKind, KindError, PoolKind, StoreKind

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BROKERS_GROUP = "taskd.brokers"
RESULTS_GROUP = "taskd.results"
POOLS_GROUP = "taskd.pools"
COMMANDS_GROUP = "taskd.commands"

AnyKind = TypeVar("AnyKind", BrokerKind, StoreKind, PoolKind)
Named = TypeVar("Named")


@dataclass(frozen=True, slots=True)
class Installed:
    """The entry points of a group by name; a name that two things have is refused, each for its reason."""

    usable: Mapping[str, EntryPoint]
    refused: Mapping[str, KindError]


def installed_kind(
    group: str, name: str, record_type: type[AnyKind], built_in: Mapping[str, AnyKind]
) -> AnyKind | None:
    """Return the record of another package; None when no package names one so.

    Raises: ``KindError``, which names the package, for one that cannot be used.
    """
    found = entries(group, built_in)
    for error in found.refused.values():
        raise error
    entry = found.usable.get(name)
    if entry is None:
        return None
    record = loaded(entry, record_type, f"a {record_type.__name__}")
    if not isinstance(record, PoolKind) and (taken := [each for each in record.schemes if each in built_in]):
        raise KindError(f'{_described(entry)}: it claims "{taken[0]}://", a scheme of taskd; {_ask(entry)}')
    return record


def entries(group: str, built_in: Collection[str]) -> Installed:
    """Return the entry points of a group; an error of a refused name names the packages."""
    usable: dict[str, EntryPoint] = {}
    refused: dict[str, KindError] = {}
    for entry in _entry_points(group):
        if entry.name in built_in:
            refused[entry.name] = KindError(f"{_described(entry)}: taskd has one of that name; {_ask(entry)}")
            continue
        other = usable.setdefault(entry.name, entry)
        if other.value != entry.value:
            refused[entry.name] = KindError(
                f"{_described(entry)}: the package {_package(other)} has one of that name too; "
                f"uninstall one of the two"
            )
    return Installed({name: entry for name, entry in usable.items() if name not in refused}, refused)


def loaded(entry: EntryPoint, expected: type[Named], words: str) -> Named:
    """Return the object that an entry point names; ``words`` say in the error what it should be.

    Raises: ``KindError`` for another object, and for whatever its import raises.
    """
    try:
        found = named(entry.value)
    except (Exception, SystemExit) as error:
        wrong = f"{entry.value} does not load ({type(error).__name__}: {error})"
        raise KindError(f"{_described(entry)}: {wrong}; {_ask(entry)}") from error
    if not isinstance(found, expected):
        raise KindError(f"{_described(entry)}: {entry.value} is not {words}; {_ask(entry)}")
    return found


@cache
def _entry_points(group: str) -> Collection[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=group)


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "of an unknown name"


def _described(entry: EntryPoint) -> str:
    return f'the entry point "{entry.name}" ({entry.group}) of the package {_package(entry)}'


def _ask(entry: EntryPoint) -> str:
    return f"install a version that works, or none: pip uninstall {_package(entry)}"
