"""Where messages and results may be kept: the URL schemes, and the tables of single stores."""

from __future__ import annotations

from dataclasses import dataclass, field

from taskd.config.option import Kind, option

#: The last two as kombu writes them.
REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+socket", "sentinel")
BROKER_SCHEMES = ("sqlite", "memory", *REDIS_SCHEMES)
BEAT_STORE_SCHEMES = ("sqlite", *REDIS_SCHEMES)
RESULT_SCHEMES = ("sqlite", "memory", "null", *REDIS_SCHEMES)


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


@dataclass(frozen=True, slots=True)
class RedisConfig:
    """[redis]: brokers and results on Redis."""

    key_prefix: str = option(
        Kind.TEXT,
        "stands before every key and channel, as kombu's global_keyprefix",
        default="",
    )
    timeout: float = option(
        Kind.DURATION, "how long to wait for a connection, and for an answer", default=5.0, minimum=0.1
    )
    master: str = option(Kind.TEXT, "the name of the master, for sentinel:// URLs", default="")


@dataclass(frozen=True, slots=True)
class Stores:
    """What the factories of brokers and results need beside a URL."""

    sqlite: SqliteConfig = field(default_factory=SqliteConfig)
    redis: RedisConfig = field(default_factory=RedisConfig)
