"""A Celery app moves by one command: the written file is checked and started, and runs its tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests import services
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.system.daemon import ROOT, Daemon

pytestmark = CELERYS_WARNINGS

APP = """\
import os

from celery import Celery

app = Celery("yard", broker=os.environ["TEST_BROKER"], backend=os.environ["TEST_BROKER"])
app.conf.update(task_default_queue="yard", worker_concurrency=2)


@app.task(name="yard.add", bind=True)
def add(self, x, y):
    return [self.request.hostname.partition("@")[0], x + y]
"""
TASKCTL = str(Path(sys.executable).with_name("taskctl"))


def test_the_written_file_is_checked_started_and_runs_the_tasks(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    url = services.redis_database()
    code = tmp_path / "code"
    code.mkdir()
    (code / "yard.py").write_text(APP)
    (code / "celery.service").write_text(
        f'[Service]\nEnvironment="TEST_BROKER={url}"\nWorkingDirectory={code}\n'
        "ExecStart=/usr/bin/celery -A yard worker -l info -n celery@%%h --time-limit 60\n"
    )
    written = code / "new.toml"
    done = subprocess.run(
        [TASKCTL, "import", "celery", "--from", str(code / "celery.service"), "--output", str(written)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "TEST_BROKER"},
    )
    assert done.returncode == 0, done.stderr

    daemon = make_daemon("", head="")
    places = '\n[supervisor]\ncontrol_socket = "taskd.sock"\nstate_directory = "."\nstop_timeout = "20s"\n'
    daemon.file.write_text(written.read_text() + places)
    checked = daemon.check("--import")
    assert checked.returncode == 0, checked.stderr
    assert "yard has 1 task" in checked.stdout
    daemon.start()
    with client_over(url, url) as client:
        answer = client.signature("yard.add", (2, 3)).apply_async(queue="yard").get(timeout=60)

    assert answer == ["celery", 5]
    assert [row["name"] for row in daemon.rows()] == ["celery-1"]
