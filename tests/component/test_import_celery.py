"""``taskctl import celery`` writes a file that passes the check, and says what changes or is refused."""

from __future__ import annotations

import ast
import json
import os
import stat
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from taskd.base import exit_codes
from taskd.cli.taskctl import main
from taskd.config.load import check_bytes
from taskd.config.schema import Config

APP = """\
from celery import Celery, bootsteps
from celery.schedules import crontab
from kombu import Queue

print("loud import")
app = Celery("proj", broker="redis://:hunter2@localhost:6379/0", backend="redis://:hunter2@localhost:6379/1")
app.conf.update(
    task_acks_late=True,
    task_queues=[Queue("fast"), Queue("slow")],
    task_default_queue="fast",
    task_routes={"proj.*": {"queue": "slow"}},
    worker_max_tasks_per_child=50,
    worker_prefetch_multiplier=1,
    broker_transport_options={"visibility_timeout": 7200},
    beat_schedule={"night\\nly": {"task": "proj.add", "schedule": crontab(hour=3, minute=0)}},
)


@app.task(name="proj.add", rate_limit="10/m")
def add(x, y):
    return x + y
"""
FROM_ENVIRONMENT = """\
import os

from celery import Celery

app = Celery("proj", broker=os.environ["BROKER_URL"])
"""
SCRIPT = """\
#!/bin/sh
export BROKER_URL="redis://:hunter2@elsewhere:6379/3"
export PROJ_MODE=prod
exec celery -A proj worker -c 4
"""
STEP = "\n\nclass Mark(bootsteps.StartStopStep):\n    pass\n\n\napp.steps['worker'].add(Mark)\n"
PROCFILE = """\
web: gunicorn proj
worker: DJANGO_KEY=k3y LANG=C celery -A proj worker -l debug -c 4 -Q fast --pool threads
slow: celery -A proj worker -c 2 -Q slow -n slow@%h --max-tasks-per-child 10 --frob 3
beat: celery -A proj beat
flower: celery -A proj flower --port=5555
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the app, as the working one."""
    package = tmp_path / "proj"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "celery.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(file: Path, secrets: dict[str, str]) -> Config:
    """Return the configuration of a file without a problem."""
    config, problems = check_bytes(file.read_bytes(), str(file), secrets)
    assert problems == []
    assert config is not None
    return config


def secrets_in(file: Path) -> dict[str, str]:
    return dict(line.replace("'", "").split("=", 1) for line in file.read_text().splitlines())


def test_the_file_of_an_app_alone_has_one_worker_and_no_password(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "celery", "proj"]) == exit_codes.OK

    out, err = capfd.readouterr()
    assert "hunter2" not in out + err
    assert "loud import" not in out
    file = project / "printed.toml"
    file.write_text(out)
    config = checked(file, {"TASKD_BROKER_PASSWORD": "hunter2"})
    assert config.broker == "redis://:hunter2@localhost:6379/0"
    assert config.results == "redis://:hunter2@localhost:6379/1"
    assert config.redis.visibility_timeout == 7200
    worker = config.workers["main"]
    assert (worker.queues, worker.node, worker.directory) == (("fast", "slow"), "celery@%h", str(project))
    assert (worker.prefetch, worker.max_tasks_per_child) == (0, 50)
    assert config.beat.run == "never"
    assert "#   night ly: proj.add" in out
    assert "proj.* -> slow" in err
    assert "stop celery beat" in err


def test_the_file_of_a_procfile_has_its_workers_and_programs(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "Procfile").write_text(PROCFILE)

    assert main(["import", "celery", "--from", "Procfile", "--output", "t.toml"]) == exit_codes.OK

    secrets = project / "t.env"
    assert stat.S_IMODE(os.stat(secrets).st_mode) == 0o600
    assert secrets_in(secrets) == {"TASKD_BROKER_PASSWORD": "hunter2", "DJANGO_KEY": "k3y"}
    assert "hunter2" not in (project / "t.toml").read_text()
    config = checked(project / "t.toml", secrets_in(secrets))
    assert set(config.workers) == {"worker", "slow"}
    worker, slow = config.workers["worker"], config.workers["slow"]
    assert (worker.pool, worker.concurrency, worker.queues) == ("threads", 4, ("fast",))
    assert worker.environment == {"DJANGO_KEY": "k3y", "LANG": "C"}
    assert (slow.node, slow.concurrency, slow.max_tasks_per_child) == ("slow@%h", 2, 10)
    assert config.programs["flower"].command == ("celery", "-A", "proj", "flower", "--port=5555")
    assert config.log.level == "debug"
    assert "[worker.slow] the option --frob 3 is not taken over" in capfd.readouterr().out

    before = (project / "t.toml").read_text()
    assert main(["import", "celery", "proj", "--output", "t.toml"]) == exit_codes.FAILURE
    assert "t.toml exists, and is left alone" in capfd.readouterr().err
    assert (project / "t.toml").read_text() == before


def test_what_a_script_exports_counts_for_the_import_and_in_the_file(project: Path) -> None:
    (project / "proj" / "celery.py").write_text(FROM_ENVIRONMENT)
    (project / "start.sh").write_text(SCRIPT)

    assert main(["import", "celery", "--from", "start.sh", "--output", "t.toml"]) == exit_codes.OK

    secrets = secrets_in(project / "t.env")
    config = checked(project / "t.toml", secrets)
    assert config.broker == "redis://:hunter2@elsewhere:6379/3"
    assert config.workers["main"].environment == {
        "BROKER_URL": "redis://:hunter2@elsewhere:6379/3",
        "PROJ_MODE": "prod",
    }
    assert "hunter2" not in (project / "t.toml").read_text()


def test_the_report_names_the_file_of_variables_if_there_is_one(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "celery", "proj", "--output", "new.toml"]) == exit_codes.OK
    assert "secrets  new.env: TASKD_BROKER_PASSWORD" in capfd.readouterr().out

    (project / "proj" / "celery.py").write_text(APP.replace(":hunter2@", ""))
    assert main(["import", "celery", "proj", "--output", "plain.toml"]) == exit_codes.OK
    assert "secrets  none" in capfd.readouterr().out
    assert not (project / "plain.env").exists()


def test_a_refused_part_fails_the_import_and_is_named(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (project / "proj" / "celery.py").open("a") as file:
        file.write(STEP)

    assert main(["import", "celery", "proj.celery:app", "--json"]) == exit_codes.FAILURE

    document = json.loads(capfd.readouterr().out)
    assert document["version"] == 1
    [refused] = [each for each in document["findings"] if each["refused"]]
    assert refused["name"] == "app.steps['worker']"
    assert document["tasks"] == [
        {"name": "proj.add", "options": {"acks_late": True, "rate_limit": "10/m"}},
    ]
    assert document["routes"] == {"proj.*": "slow"}
    assert {each["name"] for each in document["settings"]} >= {"task_acks_late", "worker_max_tasks_per_child"}


BY_ITS_PYTHON = """\
import os
import sys

from celery import Celery

app = Celery("proj", broker="redis://localhost:6379/0")
app.conf.task_default_queue = os.path.basename(sys.prefix)
"""


def virtualenv(place: Path, search: Sequence[str]) -> Path:
    """Make a virtualenv that finds modules in these places too; return its directory of programs."""
    venv.create(place, symlinks=True)
    [packages] = place.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text("".join(f"{each}\n" for each in search))
    programs = place / "bin"
    (programs / "celery").write_text(f"#!{programs}/python3\n")
    return programs


@pytest.mark.parametrize(
    "text",
    [
        "[Service]\nExecStart={bin}/celery -A proj worker\n",
        "[Service]\nExecStart={bin}/python3 -m celery -A proj worker\n",
        "worker: other/bin/celery -A proj worker\n",
        "#!/bin/sh\n. {bin}/activate\nexec celery -A proj worker\n",
        "#!/bin/sh\nexport PATH={bin}\nexec celery -A proj worker\n",
        "CELERY_BIN={bin}/celery\nCELERY_APP=proj\nCELERYD_NODES=main\n",
    ],
)
def test_the_python_of_the_commands_imports_the_app_and_runs_its_worker(project: Path, text: str) -> None:
    (project / "proj" / "celery.py").write_text(BY_ITS_PYTHON)
    programs = virtualenv(project / "other", [place for place in sys.path if os.path.isabs(place)])
    (project / "start").write_text(text.format(bin=programs))
    (programs / "celery").chmod(0o755)

    assert main(["import", "celery", "proj", "--from", "start", "--output", "t.toml"]) == exit_codes.OK

    [worker] = checked(project / "t.toml", {}).workers.values()
    assert worker.queues == ("other",)
    assert worker.interpreter == str(programs / "python3")


def test_a_python_without_taskd_is_named_with_the_remedy(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    programs = virtualenv(project / "other", [])

    words = ["import", "celery", "--command", f"{programs}/celery -A proj worker"]
    assert main(words) == exit_codes.APP_BROKEN

    said = capfd.readouterr().err
    assert f"{programs}/python3 does not have taskd" in said
    assert "--interpreter" in said
    assert main([*words, "--interpreter", sys.executable, "--output", "t.toml"]) == exit_codes.OK


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("/nowhere/bin/celery -A proj worker", "beside /nowhere/bin/celery"),
        ("poetry run celery -A proj worker", '"poetry run" decides'),
        ("$VENV/bin/celery -A proj worker", '"$VENV/bin/celery" decides'),
    ],
)
def test_a_command_that_hides_its_python_is_to_be_decided(
    project: Path, capfd: pytest.CaptureFixture[str], line: str, named: str
) -> None:
    assert main(["import", "celery", "--command", line, "--output", "t.toml"]) == exit_codes.OK

    said = capfd.readouterr().out
    assert named in said
    assert "import again with --interpreter" in said
    assert checked(project / "t.toml", {"TASKD_BROKER_PASSWORD": "hunter2"}).workers["main"].interpreter == ""


@pytest.mark.parametrize("password", ["it's", 'a"b', "back\\slash", "ünï¢ode", "$HOME`id`", "a'\\n\"b"])
def test_a_password_is_read_back_whatever_is_in_it(project: Path, password: str) -> None:
    text = APP.replace('"redis://:hunter2@localhost:6379/0"', repr(f"redis://:{password}@localhost:6379/0"))
    (project / "proj" / "celery.py").write_text(text)

    assert main(["import", "celery", "proj", "--output", "t.toml"]) == exit_codes.OK

    show = 'set -a; . ./t.env; exec "$1" -c "import os; print(ascii(dict(os.environ)))"'
    done = subprocess.run(["sh", "-c", show, "sh", sys.executable], capture_output=True, check=True)
    secrets = ast.literal_eval(done.stdout.decode())
    assert secrets["TASKD_BROKER_PASSWORD"] == password
    assert checked(project / "t.toml", secrets).broker == f"redis://:{password}@localhost:6379/0"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], exit_codes.USAGE, "no app is named"),
        (["nowhere"], exit_codes.APP_BROKEN, "--directory names the place"),
        (["json"], exit_codes.APP_BROKEN, "cannot be imported"),
        (["proj", "--directory", "/nowhere"], exit_codes.FAILURE, "cannot be started"),
        (["proj", "--interpreter", "/nowhere/python"], exit_codes.FAILURE, "cannot be started"),
        (["proj", "--from", "nowhere"], exit_codes.FAILURE, "cannot be read"),
        (["proj", "--command", "gunicorn proj"], exit_codes.USAGE, "nothing there starts Celery"),
        (["proj", "--command", "celery -A 'p worker"], exit_codes.USAGE, "quotes"),
        (["proj", "--command", "celery -A p\udcff worker"], exit_codes.USAGE, "not UTF-8"),
        (["proj", "--output", "nowhere/t.toml"], exit_codes.FAILURE, "cannot be written"),
    ],
)
def test_whatever_is_missing_is_named(
    project: Path, capfd: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    assert main(["import", "celery", *words]) == status

    assert said in capfd.readouterr().err
    assert not list(project.glob("*.env"))
