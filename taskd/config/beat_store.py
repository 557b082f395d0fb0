"""The address of beat's store.  Pure."""

from __future__ import annotations

import os

from taskd.base.schemes import file_of, with_file
from taskd.config.schema import Config

_NAME = "beat.db"


def beat_store_url(config: Config) -> str:
    """Return where beat keeps what it remembers: as configured, else a file beside the broker's.

    Where the broker has no file, it lies in the state directory.
    """
    if config.beat.store:
        return config.beat.store
    if path := file_of(config.broker):
        return with_file(config.broker, os.path.join(os.path.dirname(path), _NAME))
    return f"sqlite://{os.path.join(config.supervisor.state_directory, _NAME)}"
