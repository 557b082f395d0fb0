"""Every setting of Celery has a verdict, and what becomes a key of taskd.toml is a value that it takes."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import timedelta

import celery
import pytest
from celery.app import defaults
from hypothesis import given
from hypothesis import strategies as st

from taskd.config.load import check_bytes
from taskd.config.option import ValueForm
from taskd.config.programs import WorkerConfig
from taskd.config.schedule import BeatConfig
from taskd.config.schema import Config
from taskd.config.tables import SINGLE_TABLES, options
from taskd.config.written import written
from taskd.execution.celery.conf import translating
from taskd.execution.celery.conf.settings import VERDICTS, SettingFate, keys_of, verdict_on

#: Settings that later releases of 5.3 to 5.7 renamed or took out.
_FORMER: tuple[str, ...] = ()


def test_every_setting_of_the_installed_celery_has_a_verdict() -> None:
    missing = [name for name in defaults.DEFAULTS if verdict_on(name) is None]

    assert missing == [], "say in taskd/execution/celery/conf/settings.py what becomes of them"


@pytest.mark.skipif(celery.VERSION < (5, 7), reason="an older release has fewer settings")
def test_every_verdict_is_on_a_setting_and_says_why() -> None:
    unknown = [name for name in VERDICTS if name not in defaults.DEFAULTS]

    assert unknown == list(_FORMER)
    assert all(verdict.said for verdict in VERDICTS.values())
    assert all(
        (verdict.fate is SettingFate.KEY) == (verdict.translate is not None) for verdict in VERDICTS.values()
    )
    assert verdict_on("worker_of_another_release") is None


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({"broker_url": "redis://h:6379/2"}, {"broker": "redis://h:6379/2"}),
        ({"broker_url": "redis://:p%40@h/0", "broker_use_ssl": True}, {"broker": "rediss://:p%40@h/0"}),
        (
            {
                "broker_url": "pyamqp://u:p@h//",
                "broker_use_ssl": {"ca_certs": "/etc/ca.pem", "cert_reqs": ssl.CERT_NONE},
            },
            {"broker": "amqps://u:p@h//?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=none"},
        ),
        ({"broker_url": ["amqp://a//", "amqp://b//"]}, {"broker": "amqp://a//;amqp://b//"}),
        ({"broker_url": "sqs://key:secret@"}, {"broker": "kombu+sqs://key:secret@"}),
        ({"broker_url": "sqla+sqlite:///x.db"}, {"broker": "kombu+sqla+sqlite:///x.db"}),
        ({"broker_url": "memory://"}, {}),
        ({"broker_url": "proj.transport:Transport"}, {}),
        (
            {"broker_url": "amqp://a//", "broker_read_url": "amqp://b//"},
            {"broker": "amqp://b//"},
        ),
        (
            {
                "broker_url": "redis://h/0",
                "broker_transport_options": {"visibility_timeout": 7200, "global_keyprefix": "shop:", "x": 1},
            },
            {"broker": "redis://h/0", "redis.visibility_timeout": 7200.0, "redis.key_prefix": "shop:"},
        ),
        (
            {"broker_url": "filesystem://", "broker_transport_options": {"data_folder_in": "/in"}},
            {"broker": "kombu+filesystem://", "amqp.transport_options": {"data_folder_in": "/in"}},
        ),
        ({"result_backend": "redis://h/1"}, {"results": "redis://h/1"}),
        ({"result_backend": "rpc://"}, {"results": "rpc://"}),
        ({"result_backend": "django-db"}, {"results": "null://"}),
        ({"result_backend": "db+postgresql://u:p@h/d"}, {"results": "null://"}),
        (
            {"result_backend": "redis", "redis_host": "h", "redis_password": "p/"},
            {"results": "redis://:p%2F@h:6379/0"},
        ),
        ({"result_expires": timedelta(hours=2)}, {"result_expires": 7200.0}),
        ({"result_expires": None}, {"result_expires": 0.0}),
        ({"accept_content": ["pickle", "application/json", "mine"]}, {"accept_content": ["json", "pickle"]}),
        ({"task_default_queue": "low"}, {"worker.queues": ["low"]}),
        ({"worker_concurrency": "auto"}, {}),
        ({"worker_concurrency": "6"}, {"worker.concurrency": 6}),
        ({"worker_pool": "processes"}, {"worker.pool": "prefork"}),
        ({"worker_pool": "celery_aio_pool.pool:AsyncIOPool"}, {}),
        ({"worker_prefetch_multiplier": 1}, {"worker.prefetch": 0}),
        ({"worker_prefetch_multiplier": 3}, {}),
        (
            {"worker_prefetch_multiplier": 3, "worker_concurrency": 4},
            {"worker.prefetch": 8, "worker.concurrency": 4},
        ),
        ({"worker_max_memory_per_child": 200_000}, {"worker.max_memory_per_child": 204_800_000}),
        ({"worker_enable_remote_control": False}, {"security.remote_control": "off"}),
        ({"beat_schedule": {"x": {}}}, {"beat.run": "always"}),
    ],
)
def test_a_setting_becomes_a_key(settings: Mapping[str, object], keys: Mapping[str, object]) -> None:
    assert keys_of(settings, settings) == keys


@pytest.mark.parametrize("setting", [name for name, each in VERDICTS.items() if each.translate is not None])
@given(
    value=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=True),
        st.text(max_size=30),
        st.lists(st.text(max_size=5), max_size=3),
        st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    ),
    broker=st.sampled_from(["", "redis://h/0", "amqp://h//", "sqs://", "x"]),
)
def test_no_value_breaks_a_translator(setting: str, value: object, broker: str) -> None:
    settings = {"broker_url": broker, setting: value}

    for key in keys_of({setting: value}, settings):
        place, _, last = key.rpartition(".")
        assert last in options(_TABLES[place])


_TABLES: Mapping[str, type] = {"": Config, "worker": WorkerConfig, "beat": BeatConfig, **SINGLE_TABLES}


def test_an_address_that_became_a_key_is_accepted_by_the_file() -> None:
    for url in (
        "sentinel://a:26379;sentinel://b:26379/0",
        "redis+socket:///run/r.sock",
        "amqp://a//;amqp://b//",
    ):
        address = translating.address_of(url, None)
        broker = f"broker = {written(address, ValueForm.TEXT)}\n"
        text = f"{broker}[redis]\nmaster = 'm'\n[worker.main]\napp = 'x:app'\n"
        _, problems = check_bytes(text.encode(), "/etc/taskd.toml", {})

        assert [str(each) for each in problems] == []
