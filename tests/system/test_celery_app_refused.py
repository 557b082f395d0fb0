"""A Celery app that cannot run is refused with a message that names the cause and its place."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.daemon import ROOT, Daemon, head_over
from tests.waiting import wait_until

LICENSED = """
from celery import Celery, Task

app = Celery()

class Licensed(Task):
    def __init__(self):
        raise RuntimeError("no licence for tasks")

@app.task(base=Licensed)
def one():
    pass
"""

CASES = {
    "missing_module": (
        "from nowhere_to_be_found import app",
        "No module named 'nowhere_to_be_found'",
    ),
    "missing_settings": (
        "from celery import Celery\napp = Celery()\napp.config_from_object('no_such_settings')",
        "no_such_settings",
    ),
    "missing_django_settings": (
        "from celery import Celery\napp = Celery()\napp.config_from_object('django.conf:settings')",
        "DJANGO_SETTINGS_MODULE",
    ),
    "missing_include": (
        "from celery import Celery\napp = Celery(include=['no_such_tasks'])",
        'module "no_such_tasks" is missing, which imports or include of app',
    ),
    "base_class": (
        LICENSED,
        "no licence for tasks",
    ),
    "leaves": (
        "from celery import Celery\napp = Celery(include=['leaves_at_import'])",
        "ends the process: exit status 3",
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, str]:
    """The name of an app's module, its directory, and what is said of it."""
    source, said = CASES[request.param]
    (tmp_path / f"{request.param}_app.py").write_text(source)
    (tmp_path / "leaves_at_import.py").write_text("import os\nos._exit(3)\n")
    return f"{request.param}_app:app", tmp_path, said


def worker(directory: Path, pool: str) -> str:
    return f'[worker.main]\nqueues = ["celery"]\npool = "{pool}"\ndirectory = "{directory}"\n'


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_says_why_its_app_cannot_run(
    case: tuple[str, Path, str],
    pool: str,
    make_daemon: Callable[..., Daemon],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    path, directory, said = case
    head = head_over().replace("tests.system.shop:app", path)
    daemon = make_daemon(worker(directory, pool), head=head)
    daemon.spawn()

    module = path.partition(":")[0]
    by_hand = f"'import {module}'" if "missing_module" in path else f"'from {module} import app; "
    wait_until(lambda: by_hand in (log := daemon.log.read_text()) and said in log, what=said)


def test_a_check_says_the_same(
    case: tuple[str, Path, str], make_daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    path, directory, said = case
    head = head_over().replace("tests.system.shop:app", path)

    done = make_daemon(worker(directory, "prefork"), head=head).check("--import")

    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert "by hand:" in done.stdout + done.stderr


def test_a_second_app_in_one_process_is_refused_by_name() -> None:
    program = """
from celery import Celery
from taskd.execution.celery.worker_start import WorkerStandIn, start_worker
for name in ("mail", "billing"):
    app = Celery(name, broker="memory://")
    start_worker(app, WorkerStandIn(app, "w@h", "threads"))
"""

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )

    last = done.stderr.strip().splitlines()[-1]
    assert "StartError: Celery app <Celery billing" in last
    assert "cannot run beside <Celery mail" in last
    assert "give each app a worker of its own" in last
