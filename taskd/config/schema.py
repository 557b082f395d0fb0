"""The whole TOML file as a frozen dataclass.  Its tables stand in the other
modules: ``daemon``, ``control``, ``security``, ``stores``, ``programs``, ``schedule``.

One dataclass per table and one field per key; ``option`` says how a key is declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from taskd.config.built_in import BROKERS, RESULTS
from taskd.config.choosing import broker_kind, result_kind
from taskd.config.control import ControlConfig
from taskd.config.daemon import LogConfig, SupervisorConfig
from taskd.config.installed import BROKERS_GROUP, RESULTS_GROUP
from taskd.config.kinds import BrokerKind, StoreKind
from taskd.config.option import ValueForm, option
from taskd.config.programs import ProgramConfig, WorkerConfig
from taskd.config.schedule import BeatConfig
from taskd.config.security import SecurityConfig
from taskd.config.stores import AmqpConfig, FailuresConfig, RedisConfig, SqliteConfig, Stores


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    path: str = ""
    app: str = option(ValueForm.TEXT, 'Task code, as "package.module:attribute".', default="")
    broker: str = option(
        ValueForm.URL,
        "Broker in which messages wait.",
        default="sqlite:///var/lib/taskd/broker.db",
        choices=tuple(BROKERS),
        group=BROKERS_GROUP,
        secret=True,
    )
    results: str = option(
        ValueForm.URL,
        'Store that keeps results. "null://" keeps none.',
        default="sqlite:///var/lib/taskd/results.db",
        choices=tuple(RESULTS),
        group=RESULTS_GROUP,
        secret=True,
    )
    result_expires: float = option(
        ValueForm.DURATION, "How long results are kept. 0 keeps them forever.", default=86400.0, minimum=0.0
    )
    sent_events: bool = option(
        ValueForm.BOOLEAN,
        "Whether clients that read this file tell monitors of each task that they send (task-sent).",
        default=False,
    )
    accept_content: tuple[str, ...] = option(
        ValueForm.TEXT_LIST,
        'Content types that arguments may have: "json", "msgpack", "yaml" (needs PyYAML; slow) and '
        '"pickle". With "pickle", everybody who can write to the broker can run code in your workers.',
        factory=lambda: ("json",),
        choices=("json", "msgpack", "yaml", "pickle"),
    )
    max_message_size: int = option(
        ValueForm.SIZE,
        "Largest size of the arguments or the result of one task, unpacked. Senders and readers refuse more.",
        default=16 * 2**20,
        minimum=1024,
    )
    max_message_containers: int = option(
        ValueForm.INTEGER,
        "Largest number of lists and objects in the arguments or the result of one task.",
        default=500_000,
        minimum=1000,
    )
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    security: SecurityConfig = field(default_factory=SecurityConfig)
    log: LogConfig = field(default_factory=LogConfig)
    sqlite: SqliteConfig = field(default_factory=SqliteConfig)
    redis: RedisConfig = field(default_factory=RedisConfig)
    amqp: AmqpConfig = field(default_factory=AmqpConfig)
    failures: FailuresConfig = field(default_factory=FailuresConfig)
    workers: Mapping[str, WorkerConfig] = field(default_factory=dict)
    programs: Mapping[str, ProgramConfig] = field(default_factory=dict)
    beat: BeatConfig = field(default_factory=BeatConfig)

    @property
    def stores(self) -> Stores:
        """The settings that the factories of brokers and results need beside a URL."""
        return Stores(self.sqlite, self.redis, self.amqp, self.failures)

    @property
    def broker_kind(self) -> BrokerKind:
        """The kind of its broker.  Raises: ``KindError`` for a scheme that no broker speaks."""
        return broker_kind(self.broker)

    @property
    def result_kind(self) -> StoreKind:
        """The kind of its result store.  Raises: ``KindError`` for a scheme that no store speaks."""
        return result_kind(self.results)
