"""How one key of the configuration is declared, and what kinds of values there are.

``option`` carries what a reader needs beside the type: a line of help, the kind of value (which
unit is parsed), bounds and choices.  Nothing else describes the configuration; the loader,
``taskd --check`` and the reference page read it from here.

Durations are float seconds (written ``"30s"``, ``"5m"``, or a bare number), sizes are bytes
(``"512MiB"``).
"""

from __future__ import annotations

from dataclasses import MISSING, field
from enum import Enum
from typing import Any


class ValueForm(Enum):
    """How the TOML value of a key is read."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DURATION = "duration"  # -> float seconds
    SIZE = "size"  # -> int bytes
    CHOICE = "choice"  # one of ``choices``
    TEXT_LIST = "list of texts"
    TEXT_MAP = "table of texts"
    ANY_LIST = "list"
    ANY_MAP = "table"
    PREFETCH = "prefetch"  # "auto" or a whole number from 0
    CRON = "cron"  # five fields
    MOMENT = "moment"  # TOML date-time or text -> text of ISO 8601
    ZONE = "zone"  # IANA time zone
    URL = "url"  # ``choices`` are the schemes
    OCTAL = "octal mode"  # "027" -> int
    LIMITS = "table of limits"  # -> {name: (soft, hard)}, -1 for none
    RATES = "table of rates"  # {"shop.send": "10/m"}
    CPUS = "list of processors"  # [0, 1] or "0-3,6" -> (0, 1, 2, 3, 6)


class Applies(Enum):
    """How a changed key comes in force when a running daemon reloads the file."""

    LIVE = "live"  # nothing is restarted
    ROLL = "roll"  # the programs that it concerns are replaced one after the other
    RESTART = "restart"  # only a restart of taskd itself


def option(
    kind: ValueForm,
    help_text: str,
    *,
    default: Any = MISSING,
    factory: Any = MISSING,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    group: str = "",
    secret: bool = False,
    applies: Applies = Applies.ROLL,
) -> Any:
    """Declare one key; without a default it is required.  Entry points of ``group`` add choices."""
    metadata = {
        "kind": kind,
        "help": help_text,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "group": group,
        "secret": secret,
        "applies": applies,
    }
    shown = not secret  # a configuration in a log line must not carry a password
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata, repr=shown)
    if default is not MISSING:
        return field(default=default, metadata=metadata, repr=shown)
    return field(metadata=metadata, repr=shown)
