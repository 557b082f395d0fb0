"""Open-source applications on Celery, unchanged: their tasks run here while worker, database and broker die.

TASKD_APPLICATIONS names the directory of their environments; scripts/prove-apps makes them and runs this.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from taskd.base.errors import TaskdError
from taskd.supervisor.control.client import ControlClient
from tests.postgres_servers import PostgresServer
from tests.services import RedisServer
from tests.system.daemon import ROOT
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.skipif("TASKD_APPLICATIONS" not in os.environ, reason="scripts/prove-apps makes them"),
    pytest.mark.timeout(1800),
]

FILE = """
app = "{app}"
broker = "{broker}"
results = "null://"
[supervisor]
control_socket = "taskd.sock"
state_directory = "."
[worker.main]
queues = ["celery"]
pool = "prefork"
concurrency = 2
lease = "3s"
restart_delay_max = "1s"
"""
#: Sends each call some times by the application's own task objects, and prints their states.
PROBE = """
import json, os
app.loader.import_default_modules()
def settled(result):
    result.get(timeout=120, propagate=False)
    return result.state, str(result.result)
calls = json.loads(os.environ["PROBE_CALLS"])
sent = [app.tasks[name].apply_async(args, kwargs) for name, args, kwargs in calls for _ in range(5)]
states = [settled(each) for each in sent]
"""
DJANGO = "import django\ndjango.setup()\n"


@dataclass(frozen=True)
class Application:
    """One of them: its Celery app, its settings, and calls of its tasks that need no network."""

    app: str
    settings: Callable[[PostgresServer, RedisServer, Path], Mapping[str, str]]
    #: Code that names its Celery app ``app``, and sets up what its task code needs.
    load: str
    calls: tuple[tuple[str, list[object], dict[str, object]], ...]
    #: What makes its tables: words for its interpreter.
    tables: tuple[str, ...] = ("-m", "django", "migrate", "-v0")
    #: Code that makes what the tasks work on.
    prepare: str = "pass"
    #: Code that sends more, and adds to ``states``.
    more: str = "pass"


def _environment_of(name: str) -> Path:
    return Path(os.environ["TASKD_APPLICATIONS"]) / name


def pretalx(database: PostgresServer, redis: RedisServer, directory: Path) -> Mapping[str, str]:
    names = {"DB_TYPE": "postgresql", "DB_NAME": "postgres", "DB_USER": "taskd", "DB_HOST": "127.0.0.1"}
    names |= {"DB_PORT": str(database.port), "CELERY_BROKER": redis.url, "CELERY_BACKEND": redis.url}
    names |= {f"FILESYSTEM_{kind.upper()}": str(directory / kind) for kind in ("logs", "media", "static")}
    return {"DJANGO_SETTINGS_MODULE": "pretalx.settings"} | {f"PRETALX_{k}": v for k, v in names.items()}


def patchman(database: PostgresServer, redis: RedisServer, directory: Path) -> Mapping[str, str]:
    engine = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "taskd"}
    engine |= {"HOST": "127.0.0.1", "PORT": str(database.port)}
    settings = directory / "etc" / "patchman" / "local_settings.py"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f"DEBUG = False\nSECRET_KEY = 'x'\nRUN_GUNICORN = False\nDATABASES = {{'default': {engine!r}}}\n"
        f"CELERY_BROKER_URL = CELERY_RESULT_BACKEND = {redis.url!r}\n"
    )
    return {"DJANGO_SETTINGS_MODULE": "patchman.settings"}


def faradaysec(database: PostgresServer, redis: RedisServer, directory: Path) -> Mapping[str, str]:
    settings = directory / ".faraday" / "config" / "server.ini"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f"[database]\nconnection_string = {database.url}\n"
        f"[faraday_server]\ncelery_broker_url = {redis.url}\ncelery_backend_url = {redis.url}\n"
    )
    return {"FARADAY_HOME": str(directory)}


APPLICATIONS = {
    "pretalx": Application(
        "pretalx.celery_app",
        pretalx,
        DJANGO + "from pretalx.celery_app import app",
        (
            ("pretalx.schedule.update_unreleased_schedule_changes", [], {"event": "ev", "value": True}),
            ("pretalx.agenda.export_schedule_html", [], {"event_id": 404}),
        ),
        prepare="""
import datetime
from django_scopes import scopes_disabled
from pretalx.event.models import Event, Organiser
day = datetime.date(2026, 12, 1)
with scopes_disabled():
    organiser = Organiser.objects.create(name="O", slug="o")
    days = {"date_from": day, "date_to": day}
    Event.objects.create(organiser=organiser, name="E", slug="ev", email="x@y.test", **days)
""",
    ),
    "patchman": Application(
        "patchman",
        patchman,
        DJANGO + "from patchman import celery_app as app",
        (
            ("hosts.tasks.find_all_host_updates", [], {}),
            ("reports.tasks.process_reports", [], {}),
            ("util.tasks.clean_database", [], {}),
        ),
    ),
    "faradaysec": Application(
        "faraday.server.celery_worker:celery",
        faradaysec,
        "from faraday.server.celery_worker import application, celery as app\n"
        "application.app_context().push()",
        (("faraday.server.tasks.calc_vulnerability_stats", [1], {}),),
        tables=("-m", "faraday.manage", "create-tables"),
        prepare="""
from faraday.server.models import Host, Workspace, db
workspace = Workspace(name="w")
db.session.add_all([workspace, Host(ip="192.0.2.1", description="", workspace=workspace)])
db.session.commit()
""",
        # A report: a task makes a chord of its hosts; the chord's end sends, as its last, what counts them.
        more="""
from datetime import datetime
from faraday.server.models import Command, Host, Workspace, db
from faraday.server.tasks import process_report_task
workspace = Workspace.query.one()
had = Host.query.count()
report = Command(tool="nmap", command="nmap", import_source="report", workspace=workspace)
report.start_date = datetime.utcnow()
db.session.add(report)
db.session.commit()
port = {"name": "http", "description": "", "protocol": "tcp", "port": 80, "status": "open", "version": ""}
port |= {"vulnerabilities": [], "credentials": []}
hosts = [{"ip": f"report-{report.id}-{each}", "description": "", "services": [port]} for each in range(10)]
command = {"id": report.id, "tool": report.tool, "user": None}
sent = process_report_task.delay(workspace.id, command, hosts)
states.append(settled(sent))
body = app.AsyncResult(sent.result[0][0])
states.append(settled(body))
states.append(settled(body.children[-1]))
db.session.expire_all()
assert Host.query.count() == had + len(hosts)
assert Command.query.get(report.id).end_date is not None
""",
    ),
}


class Running:
    """An application with its servers and a daemon, all in one directory."""

    def __init__(self, name: str, directory: Path) -> None:
        self._application = APPLICATIONS[name]
        self._directory = directory
        self.database = PostgresServer()
        self.redis = RedisServer()
        self._python = str(_environment_of(name) / "bin" / "python")
        settings = self._application.settings(self.database, self.redis, directory)
        self._environment = {**os.environ, **settings}
        found = (str(ROOT), self._environment.get("PYTHONPATH", ""))
        self._environment["PYTHONPATH"] = os.pathsep.join(filter(None, found))
        self._daemon: subprocess.Popen[bytes] | None = None

    def run(self, *words: str, **environment: str) -> str:
        """Run the application's interpreter to its end; return what it prints."""
        done = subprocess.run(
            [self._python, *words],
            env={**self._environment, **environment},
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}\n{self.log()}"
        return done.stdout

    def start(self) -> None:
        """Make the tables and what stands in them, and start the daemon."""
        self.run(*self._application.tables)
        self.run("-c", f"{self._application.load}\n{self._application.prepare}")
        names = {"app": self._application.app, "broker": self.redis.url}
        (self._directory / "taskd.toml").write_text(FILE.format(**names))
        with (self._directory / "taskd.log").open("wb") as log:
            self._daemon = subprocess.Popen(
                [self._python, "-m", "taskd", "--config", "taskd.toml"],
                env=self._environment,
                cwd=self._directory,
                stdout=log,
                stderr=log,
            )
        wait_until(self._worker, what="a worker")

    def log(self) -> str:
        """Return the daemon's log."""
        written = self._directory / "taskd.log"
        return written.read_text() if written.exists() else ""

    def _worker(self) -> int | None:
        """Return the process of the worker when it is ready."""
        try:
            client = ControlClient(str(self._directory / "taskd.sock"))
            answer = client.call("status", {}, timeout_s=60.0)
        except TaskdError:
            return None
        assert isinstance(answer, dict)
        (row,) = answer["programs"]
        return int(row["pid"]) if row["state"] == "READY" else None

    def kill_worker(self) -> None:
        """End the worker as the kernel would."""
        os.kill(wait_until(self._worker, what="a worker"), signal.SIGKILL)

    def probe(self) -> None:
        """Have every call run some times by the application's own objects, to its success."""
        application = self._application
        code = [application.load, PROBE, application.more, 'print("STATES " + json.dumps(states))']
        output = self.run("-c", "\n".join(code), PROBE_CALLS=json.dumps(application.calls))
        states = json.loads(output.rpartition("STATES ")[2])
        assert {state for state, _ in states} == {"SUCCESS"}, f"{states}\n{self.log()}"

    def end(self) -> None:
        """End everything."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(120)
        self.redis.end()
        self.database.end()


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_unchanged_application_runs_and_outlives_its_worker_its_database_and_its_broker(
    name: str, tmp_path: Path
) -> None:
    running = Running(name, tmp_path)
    try:
        running.start()
        running.probe()
        running.kill_worker()
        running.probe()
        running.database.kill()
        running.database.start()
        running.probe()
        running.redis.kill()
        running.redis.start()
        running.probe()
    finally:
        running.end()
