"""The parts of a Celery app that cannot work are told by name, and an app that works has no finding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest
from celery import Celery, bootsteps
from celery.beat import PersistentScheduler
from celery.worker import control
from celery.worker.request import Request
from kombu.common import Broadcast
from kombu.entity import Exchange, Queue

from taskd.config.load import check_bytes
from taskd.config.schema import Config
from taskd.execution.celery.conf import findings
from taskd.sending.celery_facts import AppFinding

BROKER = "redis://:hunter2@broker.example:6379/0"


@pytest.fixture
def app() -> Iterator[Any]:
    """A plain app, with a task."""
    made = Celery("shop", broker=BROKER, backend="redis://broker.example/1", set_as_current=False)
    made.task(shared=False, name="shop.add")(work)
    yield made
    made.close()


def config_of(text: str) -> Config:
    """Return the checked configuration."""
    config, problems = check_bytes(text.encode(), "/etc/taskd.toml", {})
    assert config is not None, problems
    return config


def told(app: Any, **known: Any) -> dict[str, AppFinding]:
    """Return the findings by name."""
    return {each.name: each for each in findings.of(app, **known)}


def work() -> None:
    """Be a task."""


class Step(bootsteps.StartStopStep):  # type: ignore[misc]
    """A step of Celery's worker."""


class OwnScheduler(PersistentScheduler):  # type: ignore[misc]
    """A scheduler that nobody knows."""


class OwnRequest(Request):  # type: ignore[misc]
    """A request with hooks."""


def test_a_plain_app_has_no_finding(app: Any) -> None:
    assert findings.of(app) == []


def test_steps_strategies_and_pools_of_others_are_refused_by_name(app: Any) -> None:
    app.steps["worker"].add(Step)
    app.task(shared=False, name="shop.odd", Strategy="shop.odd:strategy")(work)
    app.conf.worker_pool = "celery_aio_pool.pool:AsyncIOPool"
    app.conf.worker_consumer = "shop.consumer:Consumer"

    found = told(app)

    assert all(each.is_refused and each.remedy for each in found.values())
    assert f"{__name__}.Step" in found["app.steps['worker']"].said
    assert "shop.odd:strategy" in found["Task.Strategy"].said
    assert "tasks: shop.odd" in found["Task.Strategy"].said
    assert "celery_aio_pool.pool:AsyncIOPool" in found["worker_pool"].said
    assert "shop.consumer:Consumer" in found["worker_consumer"].said


def test_a_request_of_its_own_an_option_and_a_command_are_warned_of(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        app.task(shared=False, name=f"shop.odd{number}", Request=OwnRequest)(work)
    app.user_options["worker"].add(click.Option(["--tenant"]))
    monkeypatch.setitem(control.Panel.data, "census", test_a_plain_app_has_no_finding)

    found = told(app)

    assert not any(each.is_refused for each in found.values())
    assert f"{__name__}:OwnRequest" in found["Task.Request"].said
    assert "shop.odd4 and 2 more" in found["Task.Request"].said
    assert "tenant" in found["app.user_options['worker']"].said
    assert f"{__name__}.test_a_plain_app" in found["Panel command census"].said


def test_queues_that_a_worker_cannot_serve_are_told(app: Any) -> None:
    app.conf.task_queues = [
        Queue("plain", routing_key="plain"),
        Queue("birds", Exchange("animals", type="topic"), routing_key="birds.#"),
        Broadcast("everybody"),
    ]

    found = told(app)

    assert not found["task_queues.birds"].is_refused
    assert "add_consumer birds animals topic birds.#" in found["task_queues.birds"].remedy
    assert found["task_queues.everybody"].is_refused
    assert "task_queues.plain" not in found


def test_a_broker_that_taskd_does_not_have_and_keys_that_it_does_not_read_are_refused(app: Any) -> None:
    app.conf.broker_transport_options = {"sep": ":", "priority_steps": (0, 3, 6, 9), "fanout_prefix": False}
    found = told(app)
    assert found["broker_transport_options.sep"].is_refused
    assert not found["broker_transport_options.fanout_prefix"].is_refused
    assert len(found) == 2

    app.conf.broker_url = "qpid://u:hunter2@host"
    found = told(app)
    assert found["broker_url"].is_refused
    assert "qpid" in found["broker_url"].said


def test_a_file_with_another_broker_is_refused_with_both_addresses_masked(app: Any) -> None:
    config = config_of(
        'app = "shop:app"\nbroker = "redis://:hunter2@other.example/0"\n[worker.main]\nqueues = ["celery"]\n'
    )

    finding = told(app, config=config, table="main")["broker_url"]

    assert finding.is_refused
    assert "broker.example:6379/0" in finding.said
    assert "other.example/0" in finding.said
    assert "hunter2" not in str(finding)


def test_a_file_that_agrees_has_no_finding_and_names_of_this_machine_are_one() -> None:
    app = Celery("shop", broker="redis://localhost:6379/0", backend="django-db", set_as_current=False)
    config = config_of(
        'app = "shop:app"\nbroker = "redis://127.0.0.1/0"\nresults = "null://"\n'
        '[worker.main]\nqueues = ["celery"]\n'
    )

    assert findings.in_whole_file(app, config, "main") == []


def test_settings_that_nobody_wrote_into_the_file_and_queues_that_nobody_serves_are_told(app: Any) -> None:
    app.conf.update(worker_concurrency=6, worker_max_tasks_per_child=50, task_default_queue="low")
    config = config_of(
        f'app = "shop:app"\nbroker = "{BROKER}"\nresults = "redis://elsewhere/1"\n'
        '[worker.main]\nqueues = ["celery"]\nmax_tasks_per_child = 100\n'
    )

    found = {each.name: each for each in findings.in_whole_file(app, config, "main")}

    assert found["worker_concurrency"].remedy == "write [worker.main] concurrency = 6"
    assert "worker_max_tasks_per_child" not in found, "the file has decided it"
    assert 'takes from "low"' in found["task_default_queue"].said
    assert "elsewhere" in found["result_backend"].said
    assert not any(each.is_refused for each in found.values())


def test_queues_of_routes_and_of_tasks_that_nobody_serves_are_told(app: Any) -> None:
    app.conf.task_routes = {
        "shop.pay.*": {"queue": "pay"},
        "shop.mail.*": "mail",
        "shop.x": {"routing_key": "x"},
        "shop.y": {"queue": "celery"},
    }
    app.task(name="shop.slow", shared=False)(work).queue = "slow"
    config = config_of(
        f'app = "shop:app"\nbroker = "{BROKER}"\nresults = "redis://broker.example/1"\n'
        '[worker.main]\nqueues = ["celery", "mail"]\n'
    )

    found = [(each.name, each.said) for each in findings.in_whole_file(app, config, "main")]

    assert found == [
        ("task_routes", 'no worker of the file takes from "pay"'),
        ("queue of shop.slow", 'no worker of the file takes from "slow"'),
    ]


@pytest.mark.parametrize(
    ("multiplier", "in_file", "remedies"),
    [
        (1, "", ["write [worker.main] prefetch = 0"]),
        (1, "prefetch = 0", []),
        (2, "concurrency = 4", []),
    ],
)
def test_a_prefetch_of_nothing_that_nobody_wrote_into_the_file_is_told(
    app: Any, multiplier: int, in_file: str, remedies: list[str]
) -> None:
    app.conf.worker_prefetch_multiplier = multiplier
    config = config_of(
        f'app = "shop:app"\nbroker = "{BROKER}"\nresults = "redis://broker.example/1"\n'
        f'[worker.main]\nqueues = ["celery"]\n{in_file}\n'
    )

    assert [each.remedy for each in told(app, config=config, table="main").values()] == remedies


def test_a_worker_logs_findings_and_starts_though_they_cannot_be_made(app: Any) -> None:
    app.conf.event_exchange = "mine"
    config = config_of(
        f'app = "shop:app"\nbroker = "{BROKER}"\nresults = "redis://broker.example/1"\n[worker.main]\n'
    )

    refused, [line] = findings.told_by_worker(app, config, "main")
    assert refused == []
    assert line.startswith("event_exchange: mine does not count here; ")

    app.steps["worker"].add(Step)
    [line], others = findings.told_by_worker(app, config, "main")
    assert line.startswith("the check refuses this, and the worker runs without: app.steps['worker']: ")
    assert len(others) == 1

    app.user_options = 1
    refused, [line] = findings.told_by_worker(app, config, "main")
    assert refused == []
    assert line.startswith("the app cannot be judged: AttributeError")


def test_settings_that_do_not_count_are_told_with_their_value_but_not_with_a_secret(app: Any) -> None:
    app.conf.update(worker_direct=True, event_exchange="mine", redis_password="hunter2", timezone="UTC")

    found = told(app)

    assert set(found) == {"worker_direct", "event_exchange"}
    assert found["event_exchange"].said == "mine does not count here"
    assert found["worker_direct"].remedy


def test_a_scheduler_of_beat_that_ours_cannot_stand_for_is_a_finding(app: Any) -> None:
    app.conf.beat_scheduler = "celery.beat:Scheduler"
    assert "beat_scheduler" not in told(app)

    app.conf.beat_scheduler = f"{__name__}:OwnScheduler"
    found = told(app)["beat_scheduler"]
    assert f"{__name__}.OwnScheduler is a scheduler of its own" in found.said
    assert "`celery beat` as a [program]" in found.remedy

    app.conf.beat_scheduler = "gone.away:Scheduler"
    assert '"gone.away:Scheduler" cannot be imported' in told(app)["beat_scheduler"].said
