"""The tables of the file that say how single stores are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskd.config.option import ValueForm, option


@dataclass(frozen=True, slots=True)
class SqliteConfig:
    """[sqlite]: the embedded broker and result files."""

    durability: str = option(
        ValueForm.CHOICE,
        "With normal, messages survive any crash of a process; with full, also a power loss.",
        default="normal",
        choices=("normal", "full"),
    )
    busy_timeout: float = option(
        ValueForm.DURATION, "How long to wait for another process's transaction.", default=10.0, minimum=0.1
    )


@dataclass(frozen=True, slots=True)
class RedisConfig:
    """[redis]: brokers and results on Redis."""

    key_prefix: str = option(
        ValueForm.TEXT,
        "Text before every key and channel, as kombu's global_keyprefix.",
        default="",
    )
    timeout: float = option(
        ValueForm.DURATION, "How long to wait for a connection, and for an answer.", default=5.0, minimum=0.1
    )
    master: str = option(ValueForm.TEXT, "Name of the master, for sentinel:// URLs.", default="")
    visibility_timeout: float = option(
        ValueForm.DURATION,
        "How long a message may stay with a Celery worker before taskd puts it back, as kombu's.",
        default=3600.0,
        minimum=1.0,
    )


@dataclass(frozen=True, slots=True)
class AmqpConfig:
    """[amqp]: RabbitMQ, and the other transports of kombu."""

    queue_type: str = option(
        ValueForm.CHOICE,
        "Type of the queues that taskd makes. default means that of the virtual host.",
        default="default",
        choices=("default", "classic", "quorum"),
    )
    max_priority: int = option(
        ValueForm.INTEGER,
        "Highest priority of classic queues that taskd makes, as Celery's task_queue_max_priority. 0 "
        "means none.",
        default=0,
        minimum=0,
        maximum=255,
    )
    timeout: float = option(
        ValueForm.DURATION, "How long to wait for a connection, and for an answer.", default=5.0, minimum=0.1
    )
    transport_options: Mapping[str, Any] = option(
        ValueForm.ANY_MAP, "Options of kombu for the transport of a kombu+ URL.", factory=dict, secret=True
    )


@dataclass(frozen=True, slots=True)
class FailuresConfig:
    """[failures]: letters of tasks that failed for good."""

    keep: float = option(
        ValueForm.DURATION,
        "How long the broker keeps the message of a task that failed for good. 0 keeps none.",
        default=30 * 86_400.0,
        minimum=0.0,
    )
    max: int = option(
        ValueForm.INTEGER,
        "Largest number of such messages. Beyond it, the oldest ones go.",
        default=100_000,
        minimum=1,
    )
    max_bytes: int = option(
        ValueForm.SIZE,
        "Largest size of such messages together, with what is known of their ends. Beyond it, the oldest "
        "ones go; a message that is larger by itself is not kept.",
        default=64 * 2**20,
        minimum=1,
    )


@dataclass(frozen=True, slots=True)
class Stores:
    """The settings that the factories of brokers and results need beside a URL."""

    sqlite: SqliteConfig = field(default_factory=SqliteConfig)
    redis: RedisConfig = field(default_factory=RedisConfig)
    amqp: AmqpConfig = field(default_factory=AmqpConfig)
    failures: FailuresConfig = field(default_factory=FailuresConfig)
