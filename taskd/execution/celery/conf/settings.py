"""The verdict on every setting of Celery 5.3 to 5.7: what becomes of it when taskd runs the app.

Pure: values come in, and verdicts and keys of taskd.toml go out.  ``reference`` writes the table of
docs/celery.md from the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from taskd.execution.celery.conf import translating

#: Keys of taskd.toml with their values; ``worker.KEY`` is a key of each worker's table.
Keys: TypeAlias = Mapping[str, object]
Translator: TypeAlias = Callable[[object, Mapping[str, object]], Keys]


class SettingFate(Enum):
    """The ways in which a setting may end up."""

    SLOT = "Celery's own code honours it, where the task runs"
    TASK = "taskd's worker honours it, task by task"
    BEAT = "taskd's beat honours it"
    KEY = "it becomes a key of taskd.toml"
    UNUSED = "nothing needs it here"
    IGNORED = "it does not count"
    REFUSED = "it is refused"


@dataclass(frozen=True, slots=True)
class SettingVerdict:
    """The fate of one setting, and why."""

    setting: str
    fate: SettingFate
    #: Why, or what to do.
    said: str
    #: For ``SettingFate.KEY``.
    translate: Translator | None = None


_BACKENDS: Sequence[tuple[str, str]] = (
    ("redis_", "Redis"),
    ("database_", "SQLAlchemy"),
    ("cache_", "memcached"),
    ("mongodb_", "MongoDB"),
    ("elasticsearch_", "Elasticsearch"),
    ("cassandra_", "Cassandra"),
    ("couchbase_", "Couchbase"),
    ("arangodb_", "ArangoDB"),
    ("cosmosdbsql_", "Cosmos DB"),
    ("s3_", "S3"),
    ("azureblockblob_", "Azure"),
    ("gcs_", "Google Cloud Storage"),
)

#: SettingFate, reason or remedy, and the settings that share both.
_GROUPS: Sequence[tuple[SettingFate, str, str]] = (
    # -- in the slot -----------------------------------------------------------------------------------
    (
        SettingFate.SLOT,
        "true gives the root logger the level of [log], and takes the app's handlers to the terminal",
        "worker_hijack_root_logger",
    ),
    (
        SettingFate.SLOT,
        "it writes and reads arguments and results",
        (
            "task_serializer result_serializer result_accept_content task_compression result_compression "
            "task_protocol"
        ),
    ),
    (
        SettingFate.SLOT,
        "it sends tasks from tasks",
        (
            "task_routes task_default_exchange task_default_exchange_type task_default_routing_key "
            "task_default_delivery_mode task_default_priority task_inherit_parent_priority "
            "task_create_missing_queues task_create_missing_queue_type "
            "task_create_missing_queue_exchange_type task_publish_retry "
            "task_publish_retry_policy task_send_sent_event broker_pool_limit "
            "broker_pool_acquire_timeout broker_write_url broker_failover_strategy"
        ),
    ),
    (
        SettingFate.SLOT,
        "it is Celery's tracer or canvas",
        (
            "task_annotations task_remote_tracebacks task_repr_maxlevels task_store_errors_even_if_ignored "
            "task_allow_error_cb_on_chord_header worker_deduplicate_successful_tasks"
        ),
    ),
    (
        SettingFate.SLOT,
        "it is about tasks that are called without a worker",
        "task_always_eager task_eager_propagates task_store_eager_result",
    ),
    (
        SettingFate.SLOT,
        "it is the result backend's, which the app brings",
        (
            "result_persistent result_extended result_exchange result_exchange_type result_cache_max "
            "result_chord_join_timeout result_chord_retry_interval result_chord_expires "
            "result_failure_expires result_backend_always_retry result_backend_max_retries "
            "result_backend_base_sleep_between_retries_ms "
            "result_backend_max_sleep_between_retries_ms result_backend_transport_options"
        ),
    ),
    (SettingFate.SLOT, "the modules are imported before the first task", "imports include"),
    (SettingFate.SLOT, "it says how moments are written and read", "timezone enable_utc"),
    (
        SettingFate.SLOT,
        "it signs messages, which only the app's processes read",
        "security_certificate security_cert_store security_key security_key_password security_digest",
    ),
    # -- task by task ----------------------------------------------------------------------------------
    (
        SettingFate.TASK,
        "the value of a task itself outweighs it, as in Celery",
        (
            "task_acks_late task_time_limit task_soft_time_limit task_default_rate_limit task_ignore_result "
            "task_track_started worker_disable_rate_limits"
        ),
    ),
    (
        SettingFate.TASK,
        "it counts for messages that are acknowledged late, up to max_deaths",
        (
            "task_reject_on_worker_lost task_retry_on_worker_lost task_acks_on_failure_or_timeout "
            "task_acks_on_failure task_acks_on_timeout"
        ),
    ),
    # -- beat ------------------------------------------------------------------------------------------
    (
        SettingFate.BEAT,
        "the schedules of django_celery_beat and RedBeat are read; others run as a [program]",
        "beat_scheduler",
    ),
    # -- not needed ------------------------------------------------------------------------------------
    (
        SettingFate.UNUSED,
        "the worker connects again for ever, with delays that grow",
        (
            "broker_connection_retry broker_connection_retry_on_startup broker_connection_max_retries "
            "broker_channel_error_retry worker_cancel_long_running_tasks_on_connection_loss"
        ),
    ),
    (
        SettingFate.UNUSED,
        "the lease of the worker takes its place",
        "broker_heartbeat broker_heartbeat_checkrate worker_lost_wait",
    ),
    (
        SettingFate.UNUSED,
        "messages that are not due wait in the broker, or with a bound in the worker",
        "worker_eta_task_limit broker_native_delayed_delivery_queue_type worker_detect_quorum_queues",
    ),
    (
        SettingFate.UNUSED,
        "taskd has a pool and a loop of its own",
        (
            "worker_timer worker_timer_precision worker_pool_putlocks worker_proc_alive_timeout "
            "worker_enable_prefetch_count_reduction worker_enable_soft_shutdown_on_idle"
        ),
    ),
    (
        SettingFate.UNUSED,
        "taskctl restart --rolling and taskctl reload take its place",
        "worker_pool_restarts",
    ),
    (SettingFate.UNUSED, "revocations are remembered beside the messages", "worker_state_db"),
    (
        SettingFate.UNUSED,
        "taskd keeps the history of beat, and beat wakes when an entry is due",
        "beat_schedule_filename beat_sync_every beat_max_loop_interval",
    ),
    (
        SettingFate.UNUSED,
        "taskctl beat sees and steers a running beat",
        "beat_enable_remote_control beat_remote_control_max_tick_age",
    ),
    (
        SettingFate.UNUSED,
        "taskd's queues of remote control and events have forms of their own, which clients take",
        (
            "control_queue_ttl control_queue_expires control_queue_exclusive control_queue_durable "
            "event_queue_ttl event_queue_expires event_queue_exclusive event_queue_durable event_queue_prefix"
        ),
    ),
    (
        SettingFate.UNUSED,
        "the worker's log goes by [log], in one form for all programs",
        "worker_log_color worker_log_datefmt",
    ),
    (
        SettingFate.UNUSED,
        "it is part of broker_url",
        "broker_host broker_port broker_user broker_password broker_vhost broker_transport",
    ),
    # -- does not count --------------------------------------------------------------------------------
    (
        SettingFate.IGNORED,
        "the log goes by [log]; the signals setup_logging and after_setup_logger reach it",
        (
            "worker_log_format worker_task_log_format worker_task_log_datefmt "
            "worker_redirect_stdouts worker_redirect_stdouts_level"
        ),
    ),
    (SettingFate.IGNORED, "name the worker's own queue in its queues", "worker_direct"),
    (
        SettingFate.IGNORED,
        "remote control and events use Celery's default exchanges",
        "control_exchange event_exchange",
    ),
    (SettingFate.IGNORED, "events are JSON", "event_serializer"),
    (
        SettingFate.IGNORED,
        "each entry has a rule for missed runs; the last one is sent",
        "beat_cron_starting_deadline",
    ),
    (SettingFate.IGNORED, "min_concurrency and concurrency scale the pool", "worker_autoscaler"),
    (SettingFate.IGNORED, "the worker logs in as its broker's address says", "broker_login_method"),
    # -- refused ---------------------------------------------------------------------------------------
    (
        SettingFate.REFUSED,
        "it replaces a part of Celery's worker, which never runs here; run `celery worker` for these queues",
        "worker_consumer worker_agent",
    ),
)

_KEYS: Mapping[str, tuple[str, Translator]] = {
    "broker_url": ("`broker`", translating.broker),
    "broker_read_url": ("`broker`, for the worker reads there", translating.broker),
    "broker_use_ssl": (
        "`ssl_` parameters of `broker`, whose scheme becomes `rediss` or `amqps`",
        translating.nothing,
    ),
    "broker_transport_options": (
        (
            "`[redis] key_prefix`, `visibility_timeout`, `master`, `timeout`; `[amqp] transport_options` "
            "of a `kombu+` address"
        ),
        translating.transport_options,
    ),
    "broker_connection_timeout": ("`timeout` of `[redis]` or `[amqp]`", translating.connection_timeout),
    "result_backend": (
        (
            "`results` where it is Redis or `rpc://`; any other store stays the app's own, and `results` is "
            '`"null://"`'
        ),
        translating.results,
    ),
    "result_expires": ("`result_expires`", translating.result_expires),
    "accept_content": (
        "`accept_content`, for remote control; the app itself reads its messages",
        translating.accept_content,
    ),
    "task_queues": ("`queues` of a worker", translating.queues),
    "task_default_queue": ("`queues` of a worker", translating.queues),
    "task_default_queue_type": ("`[amqp] queue_type`", translating.queue_type),
    "task_queue_max_priority": ("`[amqp] max_priority`", translating.max_priority),
    "worker_concurrency": ("`concurrency`", translating.concurrency),
    "worker_pool": ("`pool`; a class of another package is refused", translating.pool),
    "worker_pool_start_method": ('`preload = "false"`, for anything but fork', translating.start_method),
    "worker_prefetch_multiplier": (
        (
            "`prefetch`, which does not count the tasks that run: 1 becomes 0; others without "
            '`worker_concurrency` become `"auto"`'
        ),
        translating.prefetch,
    ),
    "worker_disable_prefetch": ("`prefetch = 0`", translating.disable_prefetch),
    "worker_max_tasks_per_child": ("`max_tasks_per_child`", translating.count("worker.max_tasks_per_child")),
    "worker_max_memory_per_child": ("`max_memory_per_child`, in bytes", translating.memory),
    "worker_soft_shutdown_timeout": (
        "`soft_shutdown_timeout`",
        translating.seconds("worker.soft_shutdown_timeout"),
    ),
    "worker_send_task_events": ("`events`", translating.flag("worker.events")),
    "worker_enable_remote_control": ('`[security] remote_control = "off"`', translating.remote_control),
    "beat_schedule": (
        'entries that beat reads from the app: `[beat] run = "always"` on one host or more',
        translating.beat_schedule,
    ),
}


def _rows() -> Iterator[SettingVerdict]:
    for setting, (said, translate) in _KEYS.items():
        yield SettingVerdict(setting, SettingFate.KEY, said, translate)
    for fate, said, names in _GROUPS:
        for setting in names.split():
            yield SettingVerdict(setting, fate, said)


VERDICTS: Mapping[str, SettingVerdict] = {row.setting: row for row in _rows()}
#: First words of settings that belong to one result backend, and the name of it.
BACKENDS: Mapping[str, str] = dict(_BACKENDS)


def verdict_on(setting: str) -> SettingVerdict | None:
    """Return what becomes of a setting of Celery's; None for one that Celery 5.7 does not have."""
    found = VERDICTS.get(setting)
    if found is not None:
        return found
    for prefix, backend in BACKENDS.items():
        if setting.startswith(prefix):
            return SettingVerdict(setting, SettingFate.SLOT, f"it is of the result backend on {backend}")
    return None


def keys_of(differing: Mapping[str, object], settings: Mapping[str, object]) -> Mapping[str, object]:
    """Return the keys of taskd.toml that settings which differ from Celery's defaults become.

    ``settings`` has all that a translator may look at beside its own.
    """
    found: dict[str, object] = {}
    for setting in VERDICTS:
        translate = VERDICTS[setting].translate
        if translate is not None and setting in differing:
            found.update(translate(differing[setting], settings))
    return found
