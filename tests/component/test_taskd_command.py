"""The ``taskd`` command before it becomes a daemon."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from taskd.base import exit_codes
from taskd.base.version import __version__


def taskd(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taskd", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(environ or {})},
        check=False,
    )


def wrong_file(tmp_path: Path) -> Path:
    file = tmp_path / "taskd.toml"
    file.write_text('app = "shop:app"\n[worker.mail]\nconcurency = 4\npool = "magic"\n')
    return file


def test_version() -> None:
    done = taskd("--version")

    assert (done.returncode, done.stdout) == (exit_codes.OK, f"taskd {__version__}\n")


def test_check_prints_every_problem_with_its_line(tmp_path: Path) -> None:
    file = wrong_file(tmp_path)

    done = taskd("--check", "--config", str(file))

    assert done.returncode == exit_codes.CONFIG
    lines = done.stderr.splitlines()
    assert any(line.startswith(f"{file}:3: worker.mail.concurency: ") for line in lines)
    assert any(line.startswith(f"{file}:4: worker.mail.pool: ") for line in lines)
    assert "Traceback" not in done.stderr


def test_a_daemon_with_a_wrong_configuration_does_not_start_and_says_the_same(tmp_path: Path) -> None:
    file = wrong_file(tmp_path)

    started = taskd(environ={"TASKD_CONFIG": str(file)})

    assert started.returncode == exit_codes.CONFIG
    assert started.stderr == taskd("--check", "--config", str(file)).stderr


def test_check_of_a_right_configuration(tmp_path: Path) -> None:
    file = tmp_path / "taskd.toml"
    file.write_text('app = "shop:app"\n[worker.mail]\nconcurrency = 4\n')

    done = taskd("--check", "--config", str(file))

    assert (done.returncode, done.stdout) == (exit_codes.OK, f"{file}: configuration ok\n")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "nothing.toml"

    done = taskd("--config", str(file))

    assert done.returncode == exit_codes.CONFIG
    assert str(file) in done.stderr


def test_wrong_words_on_the_command_line_are_a_usage_error() -> None:
    done = taskd("--nonsense")

    assert done.returncode == exit_codes.USAGE
    assert "--nonsense" in done.stderr


def test_check_imports_each_app_as_its_worker_would_and_says_what_failed(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("from taskd import App\napp = App()\n")
    (tmp_path / "leaves.py").write_text("import os\n\nos._exit(7)\n")
    (tmp_path / "quits.py").write_text("import sys\nsys.exit('no licence')\n")
    (tmp_path / "wrong.py").write_text("import good\ngood.missing\n")
    tables = [
        f'[worker.{name}]\napp = "{name}:app"\ndirectory = "{tmp_path}"\n'
        for name in ("good", "leaves", "quits", "wrong")
    ]
    file = tmp_path / "taskd.toml"
    file.write_text("\n".join([*tables, '[worker.lost]\napp = "shop:app"\n']))

    done = taskd("--check", "--import", "--config", str(file))

    assert done.returncode == exit_codes.APP_BROKEN
    assert "worker.good: good:app has 0 tasks" in done.stdout
    assert done.stdout.endswith("imported 1 of 5 apps with 0 tasks\n")
    assert f"ends the process: exit status 7 at {tmp_path}/leaves.py:3" in done.stderr
    assert f"ends the process: exit status no licence at {tmp_path}/quits.py:2" in done.stderr
    assert f'File "{tmp_path}/wrong.py", line 2' in done.stderr
    assert f"by hand: cd {tmp_path} && " in done.stderr
    assert f"{sys.executable} -c 'import wrong'" in done.stderr
    assert f"looked in {os.getcwd()}, {tmp_path}; worker.lost.directory is not set" in done.stderr


def test_check_counts_each_app_once_that_it_imported(tmp_path: Path) -> None:
    task = "@app.task\ndef {}(): ...\n"
    for name, tasks in (("one", "a"), ("two", "bc")):
        text = "from taskd import App\napp = App()\n" + "".join(task.format(each) for each in tasks)
        (tmp_path / f"{name}.py").write_text("print('loading')\n" + text)
    file = tmp_path / "taskd.toml"
    file.write_text(
        "".join(
            f'[worker.{worker}]\napp = "{app}:app"\ndirectory = "{tmp_path}"\n'
            for worker, app in (("w1", "one"), ("w2", "two"), ("w3", "two"))
        )
    )

    done = taskd("--check", "--import", "--config", str(file))

    assert done.returncode == exit_codes.OK, done.stderr
    assert done.stdout.endswith("imported 2 apps with 3 tasks\n")


def test_a_daemon_says_once_that_its_file_was_found_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "taskd.toml").write_text(
        '[program.x]\ncommand = ["true"]\n[supervisor]\ncontrol_socket = "s"\n'
    )
    uid = os.stat(tmp_path).st_uid or 1234
    if os.geteuid() == 0:
        os.chown(tmp_path / "taskd.toml", uid, -1)
    # Root takes no file from the working directory.
    code = f"import os; os.geteuid = lambda: {uid}; from taskd.cli.taskd import main; main([])"

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as taken:  # so that the daemon ends at once
        taken.bind(str(tmp_path / "s"))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            env={name: value for name, value in os.environ.items() if name != "TASKD_CONFIG"},
            check=False,
        )

    assert done.returncode == exit_codes.CANTCREAT, done.stderr
    assert done.stderr.count(f"file={tmp_path}/taskd.toml is the configuration, found in the working") == 1


def test_check_warns_of_tasks_that_reach_an_app_which_does_not_have_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        text = f"from taskd import App\napp = App()\n@app.task(name='{name}.work')\ndef work(): ...\n"
        (tmp_path / f"{name}.py").write_text(text)
    file = tmp_path / "taskd.toml"
    file.write_text(
        "".join(
            f'[worker.{name}]\napp = "{name}:app"\ndirectory = "{tmp_path}"\nqueues = {queues}\n'
            for name, queues in (("one", '["default", "one"]'), ("two", '["default"]'))
        )
        + '[beat.schedule.often]\ntask = "one.work"\nevery = "1h"\n'
    )

    done = taskd("--check", "--import", "--config", str(file))

    assert done.returncode == exit_codes.OK, "it may be meant"
    entry, one, two = (line for line in done.stderr.splitlines() if line.startswith("warning: "))
    assert 'beat.schedule.often: the queue "default" is taken by worker.two' in entry
    assert entry.endswith('worker.one has it: queue = "one"')
    assert one.startswith('warning: worker.one: it takes from "default", to which two:app sends 1 task')
    assert two.startswith('warning: worker.two: it takes from "default", to which one:app sends 1 task')
    assert "TASKD-TRIAL" not in done.stdout + done.stderr
