"""The module of docs/django.md, run by a worker over a real Django."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.daemon import ROOT, Daemon
from tests.waiting import wait_until

SETTINGS = """
SECRET_KEY = "x"
DATABASES = {"default": {"ENGINE": "ENGINE", "NAME": "db.sqlite3", "CONN_MAX_AGE": None}}
"""
#: SQLite's says that a connection is always usable, because no server can close it; others ask.
BACKEND = """
from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    def is_usable(self):
        try:
            self.connection.execute("SELECT 1")
        except base.Database.Error:
            return False
        return True
"""
TASKS = '''
from django.db import connection


@app.task(name="shop.query")
def query():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()[0]


@app.task(name="shop.lose")
def lose():
    """Have the connection end behind Django's back."""
    connection.ensure_connection()
    connection.connection.close()


query.run()  # as code that asks the database when it is imported
'''
HEAD = """
app = "proj.work:app"
broker = "sqlite://broker.db"
results = "sqlite://results.db"
[supervisor]
control_socket = "taskd.sock"
state_directory = "."
[worker.main]
queues = ["default"]
pool = "{pool}"
concurrency = 1
directory = "{directory}"
"""


@pytest.fixture
def django(tmp_path: Path, make_daemon: Callable[..., Daemon]) -> Callable[..., Daemon]:
    """Make a daemon whose app is that of the page, with some tasks."""

    def make(pool: str, engine: str = "proj.backend") -> Daemon:
        project = tmp_path / "project" / "proj"
        (project / "backend").mkdir(parents=True)
        (project / "backend" / "base.py").write_text(BACKEND)
        (project / "settings.py").write_text(SETTINGS.replace('"ENGINE": "ENGINE"', f'"ENGINE": "{engine}"'))
        page = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "django.md").read_text(), re.DOTALL)
        top, bottom = page[0].split("# Below all tasks")
        (project / "work.py").write_text(f"{top}\n{TASKS}\n# Below all tasks{bottom}")
        return make_daemon("", head=HEAD.format(pool=pool, directory=project.parent))

    return make


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_connection_that_was_lost_costs_the_next_tasks_nothing(
    django: Callable[..., Daemon], pool: str
) -> None:
    daemon = django(pool)
    daemon.start()

    assert daemon.app.send_task("shop.query").get(timeout=60) == 1
    assert daemon.app.send_task("shop.lose").get(timeout=60) is None
    ended = [daemon.app.send_task("shop.query") for _ in range(3)]

    with suppress(Exception):
        ended[0].get(timeout=60)  # it may find the lost connection
    assert [each.get(timeout=60) for each in ended[1:]] == [1, 1]


def test_a_worker_whose_database_cannot_be_set_up_is_not_ready(django: Callable[..., Daemon]) -> None:
    daemon = django("prefork", engine="nowhere")
    daemon.spawn()

    wait_until(lambda: "ImproperlyConfigured" in daemon.log.read_text(), 20)
    assert "program=main-1 ready" not in daemon.log.read_text()
