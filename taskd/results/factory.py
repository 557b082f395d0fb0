"""Open a result backend by its URL.  Its module is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from taskd.base.errors import StorageError
from taskd.config.choosing import result_kind
from taskd.config.kinds import KindError
from taskd.config.stores import Stores
from taskd.results.base import ChordStore, Post, ResultStore


def connect(url: str, stores: Stores, post: Post | None = None) -> ResultStore:
    """Return the result backend of a URL; no file is opened or connection made yet.

    ``post``: how ``rpc://`` reaches the broker, where that can carry results.
    Raises: ``StorageError`` for an unknown scheme or a URL that names no file.
    """
    try:
        kind = result_kind(url)
        opener = cast("Callable[[str, Stores, Post | None], ResultStore]", kind.load(kind.opener))
    except KindError as error:
        raise StorageError(str(error)) from error
    return opener(url, stores, post)


def chords(url: str, stores: Stores, expires_s: float) -> ChordStore | None:
    """Return what counts the parts of chords, None where nothing does; nothing is connected yet.

    ``expires_s``: how long the parts of a chord are kept, as results are.  Raises: as ``connect``.
    """
    try:
        kind = result_kind(url)
        if not kind.chords:
            return None
        opener = cast("Callable[[str, Stores, float], ChordStore]", kind.load(kind.chords))
    except KindError as error:
        raise StorageError(str(error)) from error
    return opener(url, stores, expires_s)
