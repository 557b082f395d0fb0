"""From a URL or a pool's name to the record of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from taskd.config.built_in import BEAT_STORES, BROKERS, POOLS, RESULTS
from taskd.config.installed import BROKERS_GROUP, POOLS_GROUP, RESULTS_GROUP, installed_kind
from taskd.config.kinds import BrokerKind, KindError, PoolKind, StoreKind


def broker_kind(url: str) -> BrokerKind:
    """Return the kind of broker that a URL leads to.  Raises: ``KindError``."""
    scheme = url.partition("://")[0]
    kind = BROKERS.get(scheme) or installed_kind(BROKERS_GROUP, scheme, BrokerKind, BROKERS)
    return kind or _nobody("broker", scheme, BROKERS)


def result_kind(url: str) -> StoreKind:
    """Return the kind of result store that a URL leads to.  Raises: ``KindError``."""
    scheme = url.partition("://")[0]
    kind = RESULTS.get(scheme) or installed_kind(RESULTS_GROUP, scheme, StoreKind, RESULTS)
    return kind or _nobody("result backend", scheme, RESULTS)


def beat_store_kind(url: str) -> StoreKind:
    """Return the kind of beat's store that a URL leads to.  Raises: ``KindError``."""
    scheme = url.partition("://")[0]
    return BEAT_STORES.get(scheme) or _nobody("store of beat", scheme, BEAT_STORES)


def pool_kind(name: str) -> PoolKind:
    """Return the kind of pool of this name.  Raises: ``KindError``."""
    kind = POOLS.get(name) or installed_kind(POOLS_GROUP, name, PoolKind, POOLS)
    if kind is None:
        raise KindError(f'no pool is called "{name}"; supported: {", ".join(POOLS)}')
    return kind


def _nobody(what: str, scheme: str, built_in: Iterable[str]) -> NoReturn:
    supported = ", ".join(f"{name}://" for name in built_in)
    raise KindError(f'no {what} speaks "{scheme}://"; supported: {supported}')


#: By the group of entry points that an option is open to: the record of a choice that taskd does not have.
_OTHERS: Mapping[str, Callable[[str], object]] = {
    BROKERS_GROUP: lambda scheme: installed_kind(BROKERS_GROUP, scheme, BrokerKind, BROKERS),
    RESULTS_GROUP: lambda scheme: installed_kind(RESULTS_GROUP, scheme, StoreKind, RESULTS),
    POOLS_GROUP: lambda name: installed_kind(POOLS_GROUP, name, PoolKind, POOLS),
}


def is_installed(group: str, choice: str) -> bool:
    """Return whether another package has such a kind.  Raises: ``KindError`` for one that cannot be used."""
    return group in _OTHERS and _OTHERS[group](choice) is not None
