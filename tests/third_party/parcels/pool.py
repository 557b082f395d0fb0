"""A pool whose name is known to nobody else."""

from __future__ import annotations

from dataclasses import replace

from taskd.pools.base import PoolInfo
from taskd.pools.opening import OnReady, TargetForms
from taskd.pools.threads import ThreadsPool


class ParcelsPool(ThreadsPool):
    """``Pool``; the work is done by threads, for a package in a test has to be small."""

    def info(self) -> PoolInfo:
        """Describe the pool."""
        return replace(super().info(), implementation="parcels.pool:ParcelsPool")


def open_pool(capacity: int, work: TargetForms, on_ready: OnReady) -> ParcelsPool:
    """Return the pool, not started."""
    return ParcelsPool(capacity, work.blocking(), on_ready=on_ready)
