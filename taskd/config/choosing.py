"""From a URL or a pool's name to the record of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from taskd.config.built_in import BEAT_STORES, BROKERS, POOLS, RESULTS
from taskd.config.kinds import BrokerKind, KindError, PoolKind, StoreKind

AnyKind = TypeVar("AnyKind", BrokerKind, StoreKind, PoolKind)


def broker_kind(url: str) -> BrokerKind:
    """Return the kind of broker that a URL leads to.  Raises: ``KindError``."""
    return _of_url(url, BROKERS, "no broker")


def result_kind(url: str) -> StoreKind:
    """Return the kind of result store that a URL leads to.  Raises: ``KindError``."""
    return _of_url(url, RESULTS, "no result backend")


def beat_store_kind(url: str) -> StoreKind:
    """Return the kind of beat's store that a URL leads to.  Raises: ``KindError``."""
    return _of_url(url, BEAT_STORES, "no store of beat")


def pool_kind(name: str) -> PoolKind:
    """Return the kind of pool of this name.  Raises: ``KindError``."""
    kind = POOLS.get(name)
    if kind is None:
        raise KindError(f'no pool is called "{name}"; supported: {", ".join(POOLS)}')
    return kind


def _of_url(url: str, built_in: Mapping[str, AnyKind], nobody: str) -> AnyKind:
    scheme = url.partition("://")[0]
    kind = built_in.get(scheme)
    if kind is None:
        supported = ", ".join(f"{name}://" for name in built_in)
        raise KindError(f'{nobody} speaks "{scheme}://"; supported: {supported}')
    return kind
