"""``taskd --check --import`` imports a Celery app as its worker would, and names what cannot work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from taskd.base import exit_codes
from taskd.execution.celery.tasks import options_of

APP = """\
from celery import Celery, bootsteps

app = Celery("shop", broker="redis://:hunter2@localhost:6379/0", backend="redis://localhost:6379/1")


@app.task(name="shop.add")
def add(x, y):
    return x + y
"""
FILE = """\
app = "shop"
broker = "redis://:hunter2@localhost:{port}/0"
results = "redis://localhost:6379/1"
[worker.main]
queues = ["celery"]
[worker.other]
queues = ["low"]
"""


def check(directory: Path, app: str, port: int = 6379, more: str = "") -> subprocess.CompletedProcess[str]:
    """Write both and check them; ``more`` goes to the table of the other worker."""
    (directory / "shop.py").write_text(app)
    file = directory / "taskd.toml"
    file.write_text(FILE.format(port=port) + more)
    return subprocess.run(
        [sys.executable, "-m", "taskd", "--check", "--import", "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_plain_app_passes(tmp_path: Path) -> None:
    done = check(tmp_path, APP)

    assert done.stderr == ""
    assert done.returncode == exit_codes.OK
    assert "worker.main: shop has 1 task\n" in done.stdout
    assert "warning" not in done.stdout, "queues of the other worker count, too"


def test_refused_parts_and_another_broker_are_named_and_fail_the_check(tmp_path: Path) -> None:
    step = "\n\nclass Mark(bootsteps.StartStopStep):\n    pass\n\n\napp.steps['worker'].add(Mark)\n"

    done = check(tmp_path, APP + step + "app.conf.event_exchange = 'mine'\n", port=6380)

    assert done.returncode == exit_codes.APP_BROKEN
    lines = done.stderr.splitlines()
    assert any(line.startswith("  refused: app.steps['worker']: shop.Mark is refused") for line in lines)
    assert any("refused: broker_url: " in line and ":6380/0" in line for line in lines)
    assert any(line.startswith("  warning: event_exchange: mine does not count here") for line in lines)
    assert "hunter2" not in done.stderr + done.stdout


def test_a_pool_that_runs_no_celery_app_fails_the_check_with_the_words_of_the_worker(tmp_path: Path) -> None:
    done = check(tmp_path, APP, more='pool = "asyncio"\n')

    assert done.returncode == exit_codes.APP_BROKEN
    refused = 'refused: worker.other: pool = "asyncio" cannot run a Celery app; use prefork, threads, gevent'
    assert refused in done.stderr
    assert "worker.main: shop has 1 task\n" in done.stdout


def test_a_missing_settings_module_is_named_with_its_line_and_a_command_that_shows_it(tmp_path: Path) -> None:
    named = APP + "\n\napp.config_from_object('shopsettings')\n"

    done = check(tmp_path, named)

    assert done.returncode == exit_codes.APP_BROKEN
    told = 'settings module "shopsettings" is missing, which config_from_object of app "shop" names'
    line = named.count("\n")
    assert f"worker.main: {told} in {tmp_path}/shop.py:{line}\n" in done.stderr
    assert "Traceback" not in done.stderr
    command = done.stderr.splitlines()[1].removeprefix("by hand: ")
    by_hand = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert by_hand.returncode != 0
    assert "shopsettings" in by_hand.stderr


def test_a_settings_module_that_breaks_is_shown_from_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "shopsettings.py").write_text("import no_such_helper\n")

    done = check(tmp_path, APP + "\n\napp.config_from_object('shopsettings')\n")

    first, head, place, *_ = done.stderr.splitlines()
    assert first.endswith("do not load: ModuleNotFoundError: No module named 'no_such_helper'")
    assert head.startswith("Traceback")
    assert place == f'  File "{tmp_path}/shopsettings.py", line 1, in <module>'


def test_a_missing_module_of_tasks_is_named_and_a_broken_one_shown_from_its_own_line(tmp_path: Path) -> None:
    included = APP + "\n\napp.conf.include = ['shopmore']\n"

    done = check(tmp_path, included)
    assert 'module "shopmore" is missing, which imports or include of app "shop" names\n' in done.stderr
    assert "Traceback" not in done.stderr

    (tmp_path / "shopmore.py").write_text("1 / 0\n")
    done = check(tmp_path, included)
    assert done.stderr.splitlines()[2] == f'  File "{tmp_path}/shopmore.py", line 1, in <module>'


def work() -> None:
    """Be a task."""


@pytest.fixture
def app() -> Any:
    """An app with limits for all tasks, and a task with limits of its own."""
    made = Celery("shop", set_as_current=False)
    made.conf.update(task_time_limit=60, task_soft_time_limit=50)
    made.task(shared=False, name="shop.plain")(work)
    made.task(shared=False, name="shop.own", time_limit=10, soft_time_limit=5)(work)
    return made


def test_limits_of_the_app_count_for_tasks_without_their_own(app: Any) -> None:
    limits = {each.name: (each.soft_time_limit, each.time_limit) for each in options_of(app)}

    assert limits["shop.own"] == (5.0, 10.0)
    assert limits["shop.plain"] == (50.0, 60.0)


def test_tasks_that_the_routes_lead_to_the_worker_of_another_app_are_named(tmp_path: Path) -> None:
    (tmp_path / "blog.py").write_text("from taskd import App\napp = App()\n")
    routed = APP + "\n\napp.conf.task_routes = {'shop.add': 'low'}\n"

    done = check(tmp_path, routed, more='app = "blog:app"\n')

    assert done.returncode == exit_codes.OK
    assert (
        'warning: worker.other: it takes from "low", to which shop sends 1 task that blog:app does not have '
        "(shop.add); they would become dead letters here: give each app queues of its own"
    ) in done.stderr
