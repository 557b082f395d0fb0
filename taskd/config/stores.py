"""Where messages and results may be kept: the URL schemes, and the tables of single stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskd.config.option import Kind, option

#: The last two as kombu writes them.
REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+socket", "sentinel")
AMQP_SCHEMES = ("amqp", "amqps", "pyamqp")
#: Transports of kombu that are asked for messages; a URL of theirs with the prefix ``kombu+``.
KOMBU_SCHEMES = tuple(
    f"kombu+{name}"
    for name in (
        "memory",
        "filesystem",
        "sqla+sqlite",
        "sqla+postgresql",
        "sqla+mysql",
        "mongodb",
        "sqs",
        "azureservicebus",
        "azurestoragequeues",
        "gcpubsub",
        "etcd",
        "consul",
        "zookeeper",
        "pyro",
    )
)
#: The modules that a store needs beside what taskd always has, and the extra that brings them.
LIBRARIES: Mapping[str, tuple[tuple[str, ...], str]] = {
    **dict.fromkeys(REDIS_SCHEMES, (("redis", "hiredis"), "taskd[redis]")),
    "kombu+sqla+sqlite": (("sqlalchemy",), "kombu[sqlalchemy]"),
    "kombu+sqla+postgresql": (("sqlalchemy", "psycopg2"), 'kombu[sqlalchemy]" "psycopg2'),
    "kombu+sqla+mysql": (("sqlalchemy", "MySQLdb"), 'kombu[sqlalchemy]" "mysqlclient'),
    "kombu+mongodb": (("pymongo",), "kombu[mongodb]"),
    "kombu+sqs": (("boto3",), "kombu[sqs]"),
    "kombu+azureservicebus": (("azure",), "kombu[azureservicebus]"),
    "kombu+azurestoragequeues": (("azure",), "kombu[azurestoragequeues]"),
    "kombu+gcpubsub": (("google",), "kombu[gcpubsub]"),
    "kombu+etcd": (("etcd",), "kombu[etcd]"),
    "kombu+consul": (("consul",), "kombu[consul]"),
    "kombu+zookeeper": (("kazoo",), "kombu[zookeeper]"),
    "kombu+pyro": (("Pyro4",), "Pyro4"),
}
BROKER_SCHEMES = ("sqlite", "memory", *REDIS_SCHEMES, *AMQP_SCHEMES, *KOMBU_SCHEMES)
BEAT_STORE_SCHEMES = ("sqlite", *REDIS_SCHEMES)
RESULT_SCHEMES = ("sqlite", "memory", "null", "rpc", *REDIS_SCHEMES)


@dataclass(frozen=True, slots=True)
class SqliteConfig:
    """[sqlite]: the embedded broker and result files."""

    durability: str = option(
        Kind.CHOICE,
        "With normal, messages survive any crash of a process; with full, also a power loss.",
        default="normal",
        choices=("normal", "full"),
    )
    busy_timeout: float = option(
        Kind.DURATION, "How long to wait for another process's transaction.", default=10.0, minimum=0.1
    )


@dataclass(frozen=True, slots=True)
class RedisConfig:
    """[redis]: brokers and results on Redis."""

    key_prefix: str = option(
        Kind.TEXT,
        "Text before every key and channel, as kombu's global_keyprefix.",
        default="",
    )
    timeout: float = option(
        Kind.DURATION, "How long to wait for a connection, and for an answer.", default=5.0, minimum=0.1
    )
    master: str = option(Kind.TEXT, "Name of the master, for sentinel:// URLs.", default="")
    visibility_timeout: float = option(
        Kind.DURATION,
        "How long a message may stay with a Celery worker before taskd puts it back, as kombu's.",
        default=3600.0,
        minimum=1.0,
    )


@dataclass(frozen=True, slots=True)
class AmqpConfig:
    """[amqp]: RabbitMQ, and the other transports of kombu."""

    queue_type: str = option(
        Kind.CHOICE,
        "Type of the queues that taskd makes. default means that of the virtual host.",
        default="default",
        choices=("default", "classic", "quorum"),
    )
    max_priority: int = option(
        Kind.INTEGER,
        "Highest priority of classic queues that taskd makes, as Celery's task_queue_max_priority. 0 "
        "means none.",
        default=0,
        minimum=0,
        maximum=255,
    )
    timeout: float = option(
        Kind.DURATION, "How long to wait for a connection, and for an answer.", default=5.0, minimum=0.1
    )
    transport_options: Mapping[str, Any] = option(
        Kind.ANY_MAP, "Options of kombu for the transport of a kombu+ URL.", factory=dict, secret=True
    )


@dataclass(frozen=True, slots=True)
class Stores:
    """The settings that the factories of brokers and results need beside a URL."""

    sqlite: SqliteConfig = field(default_factory=SqliteConfig)
    redis: RedisConfig = field(default_factory=RedisConfig)
    amqp: AmqpConfig = field(default_factory=AmqpConfig)
