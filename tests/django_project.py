"""A Django project with django_celery_beat on SQLite, and its ORM in a process.  Not a test module."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

SETTINGS = """
from pathlib import Path
SECRET_KEY = "x"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
INSTALLED_APPS = ["django_celery_beat", "proj"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(Path(__file__).parent.parent / "db.sqlite3"),
        # Immediate: SQLite refuses at once to let a reader of a transaction write while another one writes.
        "OPTIONS": {"timeout": 60, "transaction_mode": "IMMEDIATE"},
    }
}
CELERY_TIMEZONE = "Europe/Berlin"
CELERY_RESULT_EXPIRES = None
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
"""
APP = """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
app = Celery("proj", broker="memory://")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
TASKS = """
from celery import shared_task


@shared_task(name="proj.note")
def note(path, text):
    with open(path, "a") as file:
        file.write(text + "\\n")


@shared_task(name="proj.note_id", bind=True)
def note_id(self, path, text):
    note(path, self.request.id)
"""
#: Reads one JSON text of code a line, and answers with the JSON of its variable ``answer``.
_SHELL = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import proj.celery, django
django.setup()
from datetime import datetime, timedelta, timezone
from django_celery_beat.models import *
names = dict(globals())
for line in sys.stdin:
    names["answer"] = None
    exec(json.loads(line), names)
    answers.write(json.dumps(names["answer"]) + "\\n")
    answers.flush()
"""


class DjangoProject:
    """The project in a directory; its package is ``proj``."""

    def __init__(self, directory: Path, *, settings: str = "", app: str = "", tasks: str = "") -> None:
        self.directory = directory
        package = directory / "proj"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("from proj.celery import app as celery_app\n")
        (package / "settings.py").write_text(SETTINGS + settings)
        (package / "celery.py").write_text(APP + app)
        (package / "tasks.py").write_text(TASKS + tasks)
        self._shell: subprocess.Popen[str] | None = None

    @property
    def database(self) -> Path:
        """The file of its database."""
        return self.directory / "db.sqlite3"

    def migrate(self, ready: Path | None = None) -> None:
        """Make the tables, or take them from a file that has them."""
        if ready is not None and ready.exists():
            shutil.copy(ready, self.database)
            return
        code = "import proj.celery, django; django.setup(); from django.core.management import call_command\n"
        code += "call_command('migrate', verbosity=0)"
        subprocess.run([sys.executable, "-c", code], cwd=self.directory, check=True, timeout=120)
        if ready is not None:
            shutil.copy(self.database, ready)

    def orm(self, code: str) -> Any:
        """Run code with the models at hand, and return its variable ``answer``."""
        if self._shell is None:
            self._shell = subprocess.Popen(
                [sys.executable, "-c", _SHELL],
                cwd=self.directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        shell = self._shell
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(json.dumps(textwrap.dedent(code)) + "\n")
        shell.stdin.flush()
        line = shell.stdout.readline()
        assert line, f"the code failed, see above: {code}"
        return json.loads(line)

    def close(self) -> None:
        """End the process of the ORM."""
        if self._shell is not None:
            self._shell.kill()
            self._shell.communicate()
