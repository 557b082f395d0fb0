"""The kinds that taskd brings, as tables in the order of the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from taskd.config.kinds import BrokerCan, BrokerKind, PoolKind, PoolTrait, StoreCan, StoreKind

SchemeKind = TypeVar("SchemeKind", BrokerKind, StoreKind)

#: The last two as kombu writes them.
_REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+socket", "sentinel")
_REDIS_LIBRARIES = ("redis", "hiredis")
_REDIS_EXTRAS = ("taskd[redis]",)

_EVERYTHING = frozenset(BrokerCan)

SQLITE = BrokerKind(
    name="SQLite",
    schemes=("sqlite",),
    opener="taskd.brokers.sqlite.broker:open_broker",
    can=_EVERYTHING - {BrokerCan.SPAN_HOSTS, BrokerCan.CARRY_RESULTS, BrokerCan.REPLY},
    revocations="taskd.revocations.sqlite:open_state",
    upkeep="taskd.brokers.sqlite.store:open_upkeep",
    revocations_upkeep="taskd.revocations.sqlite:open_upkeep",
    client="taskd.brokers.kombu_client.connection:over_sqlite",
)
MEMORY = BrokerKind(
    name="memory",
    schemes=("memory",),
    opener="taskd.brokers.memory.broker:open_broker",
    can=SQLITE.can - {BrokerCan.SPAN_PROCESSES},
)
REDIS = BrokerKind(
    name="Redis",
    schemes=_REDIS_SCHEMES,
    opener="taskd.brokers.redis.broker:open_broker",
    libraries=_REDIS_LIBRARIES,
    extras=_REDIS_EXTRAS,
    can=_EVERYTHING - {BrokerCan.REPLY},
    revocations="taskd.revocations.redis:open_state",
    upkeep="taskd.brokers.redis.store:open_upkeep",
    revocations_upkeep="taskd.revocations.redis:open_upkeep",
    client="taskd.brokers.kombu_client.connection:over_redis",
    most_urgent=0,
)
RABBITMQ = BrokerKind(
    name="RabbitMQ",
    schemes=("amqp", "amqps", "pyamqp"),
    opener="taskd.brokers.amqp.broker:open_broker",
    can=frozenset(
        {
            BrokerCan.SPAN_PROCESSES,
            BrokerCan.SPAN_HOSTS,
            BrokerCan.ADVANCE,
            BrokerCan.REPLY,
            BrokerCan.WAKES,
            BrokerCan.PRIORITIES,
            BrokerCan.EXCHANGES,
            BrokerCan.FIFO,
            BrokerCan.BINDINGS,
        }
    ),
    client="taskd.brokers.kombu_client.connection:over_amqp",
)
#: The promises over every transport of kombu that is asked for messages.
_POLLED = frozenset({BrokerCan.SPAN_PROCESSES, BrokerCan.SPAN_HOSTS, BrokerCan.ADVANCE, BrokerCan.BINDINGS})


def _kombu(
    transport: str,
    libraries: tuple[str, ...] = (),
    extras: tuple[str, ...] = (),
    cannot: frozenset[BrokerCan] = frozenset(),
) -> BrokerKind:
    """Return the kind of a transport that is asked for messages; its URLs have the prefix ``kombu+``."""
    return BrokerKind(
        name=f"kombu's transport {transport}",
        schemes=(f"kombu+{transport}",),
        opener="taskd.brokers.kombu.broker:open_broker",
        libraries=libraries,
        extras=extras,
        can=_POLLED - cannot,
    )


_NO_BINDINGS = frozenset({BrokerCan.BINDINGS})
_KOMBU = (
    _kombu("memory", cannot=frozenset({BrokerCan.SPAN_PROCESSES, BrokerCan.SPAN_HOSTS})),
    _kombu("filesystem"),
    _kombu("sqla+sqlite", ("sqlalchemy",), ("kombu[sqlalchemy]",), _NO_BINDINGS),
    _kombu("sqla+postgresql", ("sqlalchemy", "psycopg2"), ("kombu[sqlalchemy]", "psycopg2"), _NO_BINDINGS),
    _kombu("sqla+mysql", ("sqlalchemy", "MySQLdb"), ("kombu[sqlalchemy]", "mysqlclient"), _NO_BINDINGS),
    _kombu("mongodb", ("pymongo",), ("kombu[mongodb]",)),
    _kombu("sqs", ("boto3",), ("kombu[sqs]",)),
    _kombu("azureservicebus", ("azure",), ("kombu[azureservicebus]",)),
    _kombu("azurestoragequeues", ("azure",), ("kombu[azurestoragequeues]",)),
    _kombu("gcpubsub", ("google",), ("kombu[gcpubsub]",)),
    _kombu("etcd", ("etcd",), ("kombu[etcd]",)),
    _kombu("consul", ("consul",), ("kombu[consul]",)),
    _kombu("zookeeper", ("kazoo",), ("kombu[zookeeper]",)),
    _kombu("pyro", ("Pyro4",), ("Pyro4",)),
)

_RESULTS = (
    StoreKind(
        name="SQLite",
        schemes=("sqlite",),
        opener="taskd.results.sqlite:open_results",
        upkeep="taskd.results.sqlite:open_upkeep",
        can=frozenset({StoreCan.KEEP, StoreCan.ANSWER, StoreCan.SPAN_PROCESSES}),
    ),
    StoreKind(
        name="memory",
        schemes=("memory",),
        opener="taskd.results.memory:open_results",
        can=frozenset({StoreCan.KEEP, StoreCan.ANSWER}),
    ),
    StoreKind(
        name="null",
        schemes=("null",),
        opener="taskd.results.null:open_results",
        can=frozenset({StoreCan.SPAN_PROCESSES}),
    ),
    StoreKind(
        name="rpc",
        schemes=("rpc",),
        opener="taskd.results.rpc:open_results",
        can=frozenset({StoreCan.KEEP, StoreCan.SPAN_PROCESSES}),
        needs=frozenset({BrokerCan.REPLY}),
    ),
    StoreKind(
        name="Redis",
        schemes=_REDIS_SCHEMES,
        opener="taskd.results.redis:open_results",
        libraries=_REDIS_LIBRARIES,
        extras=_REDIS_EXTRAS,
        can=frozenset(StoreCan),
        chords="taskd.results.redis_chords:open_chords",
    ),
)
_BEAT_STORES = (
    StoreKind(
        name="SQLite",
        schemes=("sqlite",),
        opener="taskd.beat.stores.sqlite:open_store",
        upkeep="taskd.beat.stores.sqlite:open_upkeep",
    ),
    StoreKind(
        name="Redis",
        schemes=_REDIS_SCHEMES,
        opener="taskd.beat.stores.redis:open_store",
        upkeep="taskd.beat.stores.redis:open_upkeep",
        libraries=_REDIS_LIBRARIES,
        extras=_REDIS_EXTRAS,
    ),
)
#: A waiting task costs next to nothing in a pool that runs many in one thread.
_MANY_SLOTS = 100
_POOLS = (
    PoolKind(
        name="prefork",
        opener="taskd.pools.prefork.pool:open_pool",
        traits=frozenset({PoolTrait.CHILDREN, PoolTrait.RESIZABLE}),
    ),
    PoolKind(name="threads", opener="taskd.pools.threads:open_pool", traits=frozenset({PoolTrait.RESIZABLE})),
    PoolKind(
        name="asyncio",
        opener="taskd.pools.asyncio:open_pool",
        traits=frozenset({PoolTrait.IN_LOOP}),
        default_slots=_MANY_SLOTS,
    ),
    PoolKind(
        name="gevent",
        opener="taskd.pools.gevent:open_pool",
        libraries=("gevent",),
        extras=("taskd[gevent]",),
        entry="taskd.worker.gevent_entry",
        default_slots=_MANY_SLOTS,
    ),
    PoolKind(
        name="eventlet",
        opener="taskd.pools.eventlet:open_pool",
        libraries=("eventlet",),
        extras=("taskd[eventlet]",),
        entry="taskd.worker.eventlet_entry",
        default_slots=_MANY_SLOTS,
    ),
    # Its claims stay for a day with a worker that vanishes, unless a successor of the same name takes them
    # back.  So it is replaced in its own slot, never beside itself.
    PoolKind(
        name="solo",
        opener="taskd.pools.solo:open_pool",
        traits=frozenset({PoolTrait.SILENT, PoolTrait.IN_PLACE}),
        default_slots=1,
        most_slots=1,
    ),
)


def _by_scheme(kinds: Iterable[SchemeKind]) -> Mapping[str, SchemeKind]:
    return {scheme: kind for kind in kinds for scheme in kind.schemes}


BROKERS: Mapping[str, BrokerKind] = _by_scheme((SQLITE, MEMORY, REDIS, RABBITMQ, *_KOMBU))
RESULTS: Mapping[str, StoreKind] = _by_scheme(_RESULTS)
BEAT_STORES: Mapping[str, StoreKind] = _by_scheme(_BEAT_STORES)
POOLS: Mapping[str, PoolKind] = {kind.name: kind for kind in _POOLS}
