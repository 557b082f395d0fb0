"""The durable stores of a configuration, each with its upkeep where its kind has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from taskd.base.errors import StorageError
from taskd.cli.output import Failure
from taskd.cli.store.register import RegisterUpkeep
from taskd.config.beat_store import beat_store_url
from taskd.config.choosing import beat_store_kind, broker_kind, result_kind
from taskd.config.kinds import BrokerKind, KindError, StoreKind
from taskd.config.schema import Config
from taskd.config.stores import Stores
from taskd.storage.upkeep import Upkeep

NAMES = ("broker", "results", "revoked", "beat", "deaths")


class _Opener(Protocol):
    def __call__(self, url: str, stores: Stores, /) -> Upkeep: ...


@dataclass(frozen=True, slots=True)
class Durable:
    """One store, by the name of what is kept in it."""

    name: str
    upkeep: Upkeep


def durable(config: Config) -> Iterator[Durable]:
    """Yield the stores that taskd keeps in order itself.  Raises: ``StorageError``."""
    broker = broker_kind(config.broker)
    results = result_kind(config.results)
    beat_url = beat_store_url(config)
    beat = beat_store_kind(beat_url)
    for name, kind, path, url in (
        ("broker", broker, broker.upkeep, config.broker),
        ("results", results, results.upkeep, config.results),
        ("revoked", broker, broker.revocations_upkeep, config.broker),
        ("beat", beat, beat.upkeep, beat_url),
    ):
        if path:
            yield Durable(name, _opened(kind, path, url, config.stores))
    yield Durable("deaths", RegisterUpkeep(config.supervisor.state_directory))


def chosen(config: Config, names: Sequence[str]) -> Sequence[Durable]:
    """Return the stores of these names, all for none.

    Raises: ``Failure`` for one that this configuration has elsewhere, or not at all.
    """
    found = {each.name: each for each in durable(config)}
    for name in names:
        if name not in found:
            raise Failure(f"taskd keeps no {name} of its own here; it keeps: {', '.join(found)}")
    return [each for each in found.values() if not names or each.name in names]


def by_place(stores: Sequence[Durable]) -> Sequence[Durable]:
    """Return the first store of each place: rooms of one file are compacted together."""
    return list({each.upkeep.place: each for each in reversed(stores)}.values())[::-1]


def _opened(kind: BrokerKind | StoreKind, path: str, url: str, stores: Stores) -> Upkeep:
    try:
        return cast("_Opener", kind.load(path))(url, stores)
    except KindError as error:
        raise StorageError(str(error)) from error
