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


def test_the_node_of_a_celery_worker_is_to_be_decided() -> None:
    plan = plan_of(facts(), [], CodePlace("/srv"))

    [line] = [each for each in plan.decisions if "node" in each]
    assert line.startswith('[worker.main] node = "celery@%h"')
    assert "if that one stops first, or write another while both run" in line


def test_a_user_of_a_unit_is_to_be_decided() -> None:
    unit = "[Service]\nUser=celery\nExecStart=/usr/bin/celery -A proj worker\n"

    plan = planned(unit, name="mail.service")

    assert plan.table("worker.mail").keys["user"] == "celery"
    [line] = [each for each in plan.decisions if each.startswith("user of [worker.mail]")]
    assert "multi-user.conf" in line


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("[Service]\nLimitNOFILE=9\nExecStart=celery -A p worker", ["LimitNOFILE=9: write limits into"]),
        (
            "[Service]\nPrivateTmp=yes\nExecStart=celery -A p worker",
            ["PrivateTmp=yes: write it into a drop-in"],
        ),
        ("[Service]\nType=forking\nRestart=always\nExecStart=celery -A p worker", ["Type=, Restart=: taskd"]),
        (
            "celery -A p worker --logfile=/l --statedb s -O fair",
            ["--logfile /l", "--statedb s", "--optimization fair"],
        ),
        ("celery -A p beat --logfile=/l", ["--logfile /l: the log goes by [log]"]),
        ("web: gunicorn p\nworker: celery -A p worker", ["web: it does not start Celery"]),
        ("label: echo\ncelery -A p worker", []),
        ("celery -A p worker -c 4 -Q slow -l info", []),
    ],
)
def test_parts_without_a_key_are_told_of(text: str, starts: list[str]) -> None:
    told = planned(text).left_out

    assert len(told) == len(starts)
    assert all(line.startswith(start) for line, start in zip(told, starts, strict=True))


def test_a_program_of_celery_is_to_be_decided() -> None:
    plan = planned("worker: celery -A p worker\nflower: celery -A p flower\n")

    assert "program.flower" in plan.tables
    assert any(each.startswith("[program.flower] runs celery flower") for each in plan.decisions)
