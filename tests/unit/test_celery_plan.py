"""The commands that start Celery become tables, lines about what is left out, and lines to decide."""

from __future__ import annotations

import pytest

from taskd.cli.importing.plan import CodePlace, ImportPlan, plan_of
from taskd.cli.importing.report import lines_of
from taskd.cli.importing.sources import starts_in
from taskd.sending.celery_facts import CeleryFacts, CeleryQueue

DJANGO = "django_celery_beat.schedulers:DatabaseScheduler"


def facts(scheduler: str = "celery.beat:PersistentScheduler") -> CeleryFacts:
    """Return the facts of an app of one queue, without entries."""
    return CeleryFacts(
        app="proj",
        celery_version="5.7",
        broker="redis://h/0",
        broker_shown="redis://h/0",
        results="null://",
        results_shown="",
        queues=[CeleryQueue("celery")],
        routed={"slow": "task_routes"},
        scheduler=scheduler,
    )


def planned(text: str, found: CeleryFacts | None = None, name: str = "") -> ImportPlan:
    """Return the plan for a file that starts Celery."""
    return plan_of(found or facts(), starts_in(text, name), CodePlace("/srv"))


@pytest.mark.parametrize(
    "line",
    [
        "celery -A proj beat --scheduler X",
        "celery -A proj beat -S X",
        "celery -A proj worker -B --scheduler=X",
        "clock: celery -A proj beat -l info --scheduler X",
        f"[Service]\nExecStart=/usr/bin/celery -A proj beat --scheduler {DJANGO}",
    ],
)
def test_the_scheduler_of_a_command_is_that_of_beat(line: str) -> None:
    wanted = DJANGO if DJANGO in line else "X"

    assert planned(line).table("beat").keys == {"run": "never", "scheduler": wanted}


def test_a_worker_without_beat_chooses_no_scheduler() -> None:
    assert "beat" not in planned("celery -A proj worker --scheduler X").tables


def test_two_schedulers_are_to_be_decided() -> None:
    plan = planned("celery -A proj beat -S X\ncelery -A proj beat -S Y\n")

    assert plan.table("beat").keys["scheduler"] == "X"
    assert any("X, Y" in each for each in plan.decisions)


@pytest.mark.parametrize("text", ["celery -A proj worker", "celery -A proj beat"])
def test_the_scheduler_of_the_app_is_told_of(text: str) -> None:
    plan = planned(text, facts(DJANGO))

    assert plan.table("beat").keys == {"run": "never"}
    assert any(DJANGO in each for each in plan.decisions)


def test_the_file_of_a_schedule_is_named_in_the_report() -> None:
    plan = planned("celery -A proj beat -s /var/lib/beat-schedule")

    report = "\n".join(lines_of(plan, facts()))
    assert "Left out:\n  --schedule /var/lib/beat-schedule: " in report


def test_settings_of_a_unit_with_specifiers_are_to_be_decided() -> None:
    plan = planned("[Service]\nUser=%i\nEnvironment=HOME=%h\nExecStart=/usr/bin/celery -A proj worker\n")

    assert "environment" not in plan.table("worker.main").keys
    assert any(each.startswith("HOME is left out") for each in plan.decisions)
    assert any(each.startswith("User=%i is left out") for each in plan.decisions)


def test_the_worker_for_all_queues_takes_from_those_of_routes() -> None:
    plan = plan_of(facts(), [], CodePlace("/srv"))

    assert plan.table("worker.main").keys["queues"] == ["celery", "slow"]
    assert not any("takes from" in each for each in plan.decisions)


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("celery -A proj worker", ["slow"]),
        ("celery -A proj worker -Q slow", ["celery"]),
        ("celery -A proj worker -Q slow,celery", []),
    ],
)
def test_queues_that_no_command_takes_from_are_to_be_decided(line: str, missing: list[str]) -> None:
    told = [each for each in planned(line).decisions if "takes from" in each]

    assert [each.split('"')[1] for each in told] == missing
