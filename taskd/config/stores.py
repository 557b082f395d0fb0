"""Where messages and results may be kept: the URL schemes, and the tables of single stores."""

from __future__ import annotations

from dataclasses import dataclass

from taskd.config.option import Kind, option

BROKER_SCHEMES = ("sqlite", "memory")
BEAT_STORE_SCHEMES = ("sqlite",)
RESULT_SCHEMES = ("sqlite", "memory", "null")


@dataclass(frozen=True, slots=True)
class SqliteConfig:
    """[sqlite]: the embedded broker and result files."""

    durability: str = option(
        Kind.CHOICE,
        "normal survives any crash of a process, full also power loss",
        default="normal",
        choices=("normal", "full"),
    )
    busy_timeout: float = option(
        Kind.DURATION, "how long to wait for another process's transaction", default=10.0, minimum=0.1
    )
