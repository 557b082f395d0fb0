"""Open a broker by its URL.  Its module is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from taskd.base.errors import BrokerError
from taskd.base.urls import refusal
from taskd.brokers.base import Broker
from taskd.config.choosing import broker_kind
from taskd.config.kinds import KindError
from taskd.config.stores import Stores


def connect(url: str, stores: Stores) -> Broker:
    """Return the broker of a URL; no file is opened or connection made yet.

    Raises: ``BrokerError`` for an unknown scheme, ``StorageError`` for a URL that names no file,
    either for one that cannot be read.
    """
    try:
        kind = broker_kind(url)
        wrong = refusal(url, "the broker")
        if wrong:
            raise BrokerError(wrong)
        opener = cast("Callable[[str, Stores], Broker]", kind.load(kind.opener))
    except KindError as error:
        raise BrokerError(str(error)) from error
    return opener(url, stores)
