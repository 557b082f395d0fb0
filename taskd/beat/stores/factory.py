"""Open beat's store by its URL.  Its module is imported when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import cast

from taskd.base.errors import StorageError
from taskd.base.schemes import file_of, with_file
from taskd.beat.stores.base import BeatStore
from taskd.brokers.timing import Timing
from taskd.config.choosing import beat_store_kind
from taskd.config.kinds import KindError
from taskd.config.schema import Config

_BESIDE_THE_BROKER = "beat.db"
_ELSEWHERE = "sqlite:///var/lib/taskd/beat.db"


def store_url(config: Config) -> str:
    """Return where beat keeps what it remembers: as configured, else ``beat.db`` beside the broker's file."""
    if config.beat.store:
        return config.beat.store
    if path := file_of(config.broker):
        return with_file(config.broker, os.path.join(os.path.dirname(path), _BESIDE_THE_BROKER))
    return _ELSEWHERE


def has_store(config: Config) -> bool:
    """Whether there may be something in the store; asking makes no file."""
    url = store_url(config)
    return not file_of(url) or os.path.exists(file_of(url))


def open_store(config: Config, timing: Timing | None = None, *, listens: bool) -> BeatStore:
    """Open the store; ``listens`` is on for a beat and off for an operator's look.

    Raises: ``StorageError`` when it cannot be opened, or has a URL of a scheme that nobody speaks.
    """
    url = store_url(config)
    try:
        kind = beat_store_kind(url)
        opener = cast("Callable[[str, Config, Timing | None, bool], BeatStore]", kind.load(kind.opener))
    except KindError as error:
        raise StorageError(str(error)) from error
    return opener(url, config, timing, listens)
