"""taskctl doctor on this very machine: what it gathers, prints and returns."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskd.base import exit_codes
from taskd.brokers.factory import connect
from taskd.cli.taskctl import main
from taskd.config.stores import Stores
from tests.component.supervised import daemon
from tests.contract.brokers import message


def diagnosis(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict[str, Any]]]:
    status = main([*words, "--unit", "no-such-unit.service", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is (status == exit_codes.OK)
    return status, answer["findings"]


def write(tmp_path: Path, text: str, mode: int = 0o600) -> str:
    path = tmp_path / "taskd.toml"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def about(findings: list[dict[str, Any]], check: str) -> list[str]:
    return [finding["what"] for finding in findings if finding["check"] == check]


def test_a_running_daemon_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with daemon(tmp_path, modes={"mail": "good", "bad": "dies"}, restart_delay=60.0) as running:
        running.wait_for("mail-1", "READY")
        running.wait_for("bad-1", "BACKOFF")
        path = write(
            tmp_path,
            f'broker = "sqlite:///{tmp_path}/b.db"\nresults = "null://"\n'
            f'[worker.mail]\napp = "x:y"\n[supervisor]\ncontrol_socket = "{running.socket_path}"\n',
        )

        status, findings = diagnosis(capsys, "--config", path, "doctor")

    assert status == exit_codes.OK
    assert about(findings, "daemon") == ["bad-1 is BACKOFF: ended with no module named shop (exit status 77)"]
    assert about(findings, "config") == [f"{path} is sound"]
    assert "are free at" in about(findings, "broker")[0]
    assert "has pidfd" in about(findings, "kernel")[0]
    assert "open files are allowed" in about(findings, "limits")[0]


@pytest.mark.parametrize(
    ("variable", "is_secret"),
    [
        ('PATH = "/srv/bin:/usr/bin"', False),
        ('DJANGO_SETTINGS_MODULE = "proj.prod"', False),
        ('API_TOKEN = "hush-hush"', True),
        ('BROKER = "redis://:hush-hush@h/0"', True),
    ],
)
def test_a_file_that_everybody_may_read_has_no_secret_in_an_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], variable: str, is_secret: bool
) -> None:
    path = write(
        tmp_path,
        f'broker = "sqlite:///{tmp_path}/b.db"\nresults = "null://"\n'
        f'[worker.mail]\napp = "x:y"\nenvironment = {{ {variable} }}\n'
        f'[supervisor]\ncontrol_socket = "{tmp_path}/s"\n',
        mode=0o644,
    )

    _status, findings = diagnosis(capsys, "--config", path, "doctor")

    told = [each for each in about(findings, "config") if "everybody may read" in each]
    assert bool(told) is is_secret


def test_faults_are_errors_with_remedies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        tmp_path,
        f'broker = "sqlite:///{tmp_path}/none/b.db"\nresults = "null://"\n'
        f'[worker.mail]\napp = "x:y"\ndirectory = "gone"\nenvironment = {{ TOKEN = "hush-hush" }}\n'
        f'[control]\nviewers = ["@no-such-group"]\n[supervisor]\ncontrol_socket = "{tmp_path}/s"\n',
        mode=0o644,
    )
    (tmp_path / "s").touch()  # not a socket

    status, findings = diagnosis(capsys, "--config", path, "doctor")

    assert status == exit_codes.FAILURE
    errors = {finding["what"] for finding in findings if finding["severity"] == "error"}
    assert f"everybody may read {path}, which holds secrets: worker.mail.environment" in errors
    assert f"the directory {tmp_path}/none does not exist" in errors
    assert f"worker.mail.directory: {tmp_path}/gone does not exist" in errors
    assert "[control] names the group '@no-such-group', which this machine does not have" in errors
    assert any("supervisor.control_socket" in error and "is not a socket" in error for error in errors)
    assert f"{tmp_path}/s is not a socket; name taskd's control socket by --socket" in errors
    assert all(f["remedy"] for f in findings if f["severity"] in {"error", "warning"})


def test_a_store_of_beat_without_its_directory_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'app = "x:y"\nbroker = "redis://127.0.0.1:1/0"\nresults = "null://"\n[worker.mail]\n'
    state = f'[supervisor]\nstate_directory = "{tmp_path}/none"\n'
    path = write(tmp_path, f'{text}{state}[beat]\nrun = "always"\n')

    _, findings = diagnosis(capsys, "--config", path, "doctor", "--socket", str(tmp_path / "s"))

    assert about(findings, "beat.store") == [f"the directory {tmp_path}/none does not exist"]


def test_a_queue_in_which_something_waits_and_that_no_worker_serves_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite://{tmp_path}/b.db"
    with closing(connect(url, Stores())) as broker:
        broker.publisher().publish([message("x", "mial"), message("y", "mail")])
    path = write(tmp_path, f'app = "a:b"\nbroker = "{url}"\n[worker.main]\nqueues = ["mail"]\n')

    _, findings = diagnosis(capsys, "--config", path, "doctor", "--socket", str(tmp_path / "s"))

    (said,) = [each for each in about(findings, "broker") if "no worker" in each]
    assert said == 'no worker of this file consumes from the queue "mial"; did you mean "mail"?'


def test_nothing_is_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        tmp_path, f'broker = "sqlite:///{tmp_path}/b.db"\n[supervisor]\ncontrol_socket = "{tmp_path}/s"\n'
    )

    diagnosis(capsys, "--config", path, "doctor")

    assert os.listdir(tmp_path) == ["taskd.toml"]


def test_a_file_that_is_not_there_is_the_first_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", str(tmp_path / "none.toml"), "doctor", "--unit", "no-such-unit.service"]

    assert main([*words, "--socket", str(tmp_path / "s")]) == exit_codes.FAILURE

    output = capsys.readouterr().out
    assert "the file cannot be read" in output
    assert "remedy: " in output
    assert output.splitlines()[-1].startswith("1 error, ")


def test_of_security_it_speaks_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        tmp_path,
        f'app = "x:y"\nbroker = "redis://mq.example/0"\nresults = "sqlite://{tmp_path}/r.db"\n'
        f'accept_content = ["json", "pickle"]\n[worker.a]\ndirectory = "{tmp_path}"\n',
    )
    (tmp_path / "r.db").touch(0o644)

    assert about(diagnosis(capsys, "--config", path, "doctor")[1], "security") == []
    status, findings = diagnosis(capsys, "--config", path, "doctor", "--security")

    assert status == exit_codes.FAILURE
    said = "\n".join(about(findings, "security"))
    assert "broker: redis://mq.example/0 is used without a password" in said
    assert "broker: redis://mq.example/0 is another host, and the connection is not encrypted" in said
    assert 'accept_content has "pickle"' in said
