"""Open beat's store by its URL.  Its module is imported when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import cast

from taskd.base.errors import StorageError
from taskd.base.schemes import file_of
from taskd.beat.stores.base import BeatStore
from taskd.brokers.timing import Timing
from taskd.config.beat_store import beat_store_url
from taskd.config.choosing import beat_store_kind
from taskd.config.kinds import KindError
from taskd.config.schema import Config


def has_store(config: Config) -> bool:
    """Whether there may be something in the store; asking makes no file.

    So it is where beat runs and has no directory for its file: opening the store tells of that.
    """
    path = file_of(beat_store_url(config))
    is_lost = config.beat.runs and not os.path.isdir(os.path.dirname(path))
    return not path or os.path.exists(path) or is_lost


def open_store(config: Config, timing: Timing | None = None, *, listens: bool) -> BeatStore:
    """Open the store; ``listens`` is on for a beat and off for an operator's look.

    Raises: ``StorageError`` when it cannot be opened, or has a URL of a scheme that nobody speaks.
    """
    url = beat_store_url(config)
    try:
        kind = beat_store_kind(url)
        opener = cast("Callable[[str, Config, Timing | None, bool], BeatStore]", kind.load(kind.opener))
    except KindError as error:
        raise StorageError(str(error)) from error
    return opener(url, config, timing, listens)
