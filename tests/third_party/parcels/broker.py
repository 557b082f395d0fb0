"""Messages in a file, at ``parcels:///absolute/path``."""

from __future__ import annotations

from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.timing import Timing
from taskd.config.stores import Stores

from .kinds import BROKER


class ParcelsBroker(SqliteBroker):
    """``Broker``; the work is done by the embedded one, for a package in a test has to be small."""

    kind = BROKER

    def __init__(self, url: str, stores: Stores, timing: Timing | None = None) -> None:
        super().__init__(f"sqlite://{url.partition('://')[2]}", stores.sqlite, timing)
        self.url = url


def open_broker(url: str, stores: Stores) -> ParcelsBroker:
    """Return the broker of a URL; no file is opened yet."""
    return ParcelsBroker(url, stores)
