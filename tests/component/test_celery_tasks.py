"""The table of a Celery app's tasks: Celery's options in taskd's words."""

from __future__ import annotations

from typing import Any

import celery
import pytest
from celery import Celery

from taskd.execution.celery.tasks import options_of
from taskd.sending.forms import Acks
from taskd.sending.options import TaskOptions

SINCE_5_7 = pytest.mark.skipif(celery.VERSION[:2] < (5, 7), reason="an older Celery has no such option")


def options(settings: dict[str, Any], **declared: Any) -> TaskOptions:
    """Return the options of one task that is declared so in an app with these settings."""
    app = Celery("table", broker="memory://", set_as_current=False)
    app.conf.update(settings)

    @app.task(name="one", shared=False, **declared)  # type: ignore[untyped-decorator]
    def one() -> None:
        pass

    app.finalize()
    return next(each for each in options_of(app) if each.name == "one")


def test_celerys_defaults_are_early_acks_and_no_limits() -> None:
    assert options({}) == TaskOptions(
        "one", "celery", Acks.EARLY, again_when_lost=False, again_when_timed_out=False, dead_when_failed=False
    )


@pytest.mark.filterwarnings("ignore::celery.exceptions.CDeprecationWarning")
def test_options_of_a_task_are_read() -> None:
    found = options(
        {}, acks_late=True, reject_on_worker_lost=True, ignore_result=True, time_limit=30, soft_time_limit=20,
        rate_limit="6/m", send_events=False, queue="mail",
    )  # fmt: skip

    assert found == TaskOptions("one", "mail", Acks.LATE, True, 20.0, 30.0, 0.1, False, again_when_lost=True)


def test_a_task_has_the_queue_of_its_route() -> None:
    assert options({"task_routes": {"one": {"queue": "mail"}}}).queue == "mail"
    assert options({"task_routes": {"one": "mail"}}).queue == "mail"
    assert options({"task_routes": {"other": {"queue": "mail"}}}).queue == "celery"


def test_a_router_of_the_users_code_is_not_called() -> None:
    called = []

    def router(*arguments: object, **__: object) -> None:
        called.append(arguments)

    routes = ({"one": "mail"}, router)
    assert options({"task_routes": routes}).queue == "mail"
    assert options({"task_routes": routes[::-1]}).queue == "celery"
    assert not called


def test_settings_are_the_defaults_of_tasks() -> None:
    found = options(
        {
            "task_acks_late": True,
            "task_reject_on_worker_lost": True,
            "task_ignore_result": True,
            "task_time_limit": 30,
            "task_soft_time_limit": 20,
            "task_default_rate_limit": "2/s",
            "task_default_queue": "mail",
        }
    )

    assert found == TaskOptions("one", "mail", Acks.LATE, True, 20.0, 30.0, 2.0, again_when_lost=True)


def test_a_rate_is_none_where_rates_are_off() -> None:
    assert options({"worker_disable_rate_limits": True}, rate_limit="6/m").rate_limit == 0.0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"task_acks_on_failure_or_timeout": False}, (True, True)),
        ({"task_acks_on_failure_or_timeout": True}, (False, False)),
        pytest.param({"task_acks_on_failure": False}, (False, True), marks=SINCE_5_7),
        pytest.param({"task_acks_on_timeout": False}, (True, False), marks=SINCE_5_7),
    ],
)
def test_a_late_message_is_kept_from_its_ack_as_celery_says(
    settings: dict[str, bool], expected: tuple[bool, bool]
) -> None:
    found = options(settings, acks_late=True)

    assert (found.again_when_timed_out, found.dead_when_failed) == expected


@SINCE_5_7
def test_retry_on_worker_lost_lets_it_run_again() -> None:
    assert options({"task_retry_on_worker_lost": True}, acks_late=True).again_when_lost
