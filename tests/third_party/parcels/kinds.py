"""The records: all that taskd reads until one of them is chosen."""

from __future__ import annotations

from taskd.config.built_in import SQLITE
from taskd.config.kinds import BrokerKind, PoolKind, PoolTrait

BROKER = BrokerKind(
    name="parcels",
    schemes=("parcels",),
    opener="parcels.broker:open_broker",
    can=SQLITE.can,
)
POOL = PoolKind(
    name="parcels",
    opener="parcels.pool:open_pool",
    traits=frozenset({PoolTrait.RESIZABLE}),
    default_slots=3,
)
