"""The configuration of an App: from its file, or of the addresses that the code gives."""

from __future__ import annotations

import os

from taskd.base.errors import ConfigError
from taskd.config.load import load
from taskd.config.rules import with_absolute_paths
from taskd.config.schema import Config
from taskd.config.where import PATH_VARIABLE, find

_NO_RESULTS = "null://"


def configuration(path: str | None, broker: str | None, results: str | None) -> Config:
    """Return what the file says, with the addresses that the code gives in place of the file's.

    Raises: ``ConfigError``.
    """
    if path is None and broker is not None:
        # Addresses given in code need no file; without results= none are kept.
        return with_absolute_paths(Config(broker=broker, results=results or _NO_RESULTS), os.getcwd())
    config = _load(path)
    if broker is None and results is None:
        return config
    given = Config(broker=broker or config.broker, results=results or config.results)
    given = with_absolute_paths(given, os.getcwd())
    return Config(
        path=config.path,
        broker=given.broker,
        results=given.results,
        sqlite=config.sqlite,
        app=config.app,
        accept_content=config.accept_content,
        max_message_size=config.max_message_size,
        max_message_containers=config.max_message_containers,
    )


def _load(given: str | None) -> Config:
    path = find(given)
    try:
        return load(path)
    except ConfigError as error:
        if given is not None or os.path.exists(path):
            raise
        # The author of App() has no --config to give.
        raise ConfigError(
            f"there is no configuration file {path}: name one by the environment variable "
            f"{PATH_VARIABLE} or by App(config=...), or give addresses in code: "
            "App(broker=..., results=...)"
        ) from error
