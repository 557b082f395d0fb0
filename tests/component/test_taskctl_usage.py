"""taskctl's own manners: help, wrong usage, wrong files, exit statuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from taskd.base import exit_codes
from taskd.cli.taskctl import main
from tests.component.taskctl_verbs import VERBS


@pytest.mark.parametrize(
    ("words", "command"), VERBS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_verb_has_help_with_an_example(
    words: tuple[str, ...], command: click.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--help"]) == exit_codes.OK

    output = capsys.readouterr().out
    assert re.search(rf"Example: taskctl (--config \S+ )?({words[0]}|{words[-1]})\b", output)


def test_help_is_a_command_too_and_shows_every_verb_with_a_whole_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["help"]) == main(["help", "beat", "list"]) == main(["-V"]) == exit_codes.OK

    output = capsys.readouterr().out
    assert "..." not in output.partition("Exit status")[0].partition("Options:")[2]
    assert "Tasks, queues and workers:" in output
    assert "Usage: taskctl beat list" in output
    assert main(["help", "statsu"]) == exit_codes.USAGE
    assert 'did you mean "status"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "command"), VERBS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_verb_can_answer_in_json(words: tuple[str, ...], command: click.Command) -> None:
    assert isinstance(command, click.Group) or "--json" in [o for p in command.params for o in p.opts]


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["stop"],
        ["stop", "x", "--timeout", "soon"],
        ["send", "x", "{}"],
        ["send", "x", "[1"],
        ["send", "x", "--kwargs", "[]"],
        ["send", "x", "--priority", "10"],
        ["dlq", "show", "x"],
        ["revoke"],
        ["inspect", "nonsense"],
    ],
)
def test_wrong_words_are_refused_without_a_look_at_the_file(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", "/nonexistent", *words]) == exit_codes.USAGE

    assert capsys.readouterr().err.startswith("Usage: taskctl")


def test_a_mistyped_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quues"]) == exit_codes.USAGE

    assert 'there is no command "quues"; did you mean "queues"?' in capsys.readouterr().err
    assert main(["dlq", "retry"]) == exit_codes.USAGE
    assert (
        'there is no command "retry"; expected one of list, purge, requeue, show' in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "words",
    [["status"], ["queues"], ["send", "x"], ["result", "x"], ["inspect", "ping"], ["dlq", "list"], ["check"]],
)
def test_a_wrong_file_is_reported_with_its_lines(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "taskd.toml"
    nobody = '[supervisor]\ncontrol_socket = "nobody.sock"\n'  # a daemon of this machine would answer
    path.write_text(f'\nap = 1\n[log]\nlevel = "loud"\n{nobody}')

    assert main(["--config", str(path), *words]) == exit_codes.CONFIG

    lines = capsys.readouterr().err.splitlines()
    assert f'{path}:2: ap: unknown key; did you mean "app"?' in lines[0]
    assert f"{path}:4: log.level: " in lines[1]


def test_check_tells_errors_and_warnings_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "taskd.toml"
    path.write_text("")

    assert main(["--config", str(path), "check", "--json"]) == exit_codes.OK

    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert [problem["severity"] for problem in answer["problems"]] == ["warning"]


def test_the_file_is_found_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "taskd.toml"
    path.write_text('[worker.w]\napp = "x:y"\n')
    monkeypatch.setenv("TASKD_CONFIG", str(path))

    assert main(["check"]) == exit_codes.OK

    assert capsys.readouterr().out == f"{path}: configuration ok\n"


def test_status_does_not_load_kombu() -> None:
    program = (
        "import sys\nfrom taskd.cli.taskctl import main\nmain(['status', '--socket', '/nonexistent'])\n"
        "print(*sorted({'kombu', 'rich', 'asyncio', 'sqlite3'} & set(sys.modules)))"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.split() == []


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "taskd.toml"
    path.write_text('[worker.w]\napp = "x:y"\n')
    program = "import sys\nfrom taskd.cli.taskctl import main\nsys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--config", str(path), "check"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()

    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(60) == exit_codes.FAILURE


def test_an_error_names_the_file_if_it_was_found_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "taskd.toml"
    path.write_text('[program.x]\ncommand = ["true"]\n[supervisor]\ncontrol_socket = "s"\n')
    uid = path.stat().st_uid or 1234
    if os.geteuid() == 0:
        os.chown(path, uid, -1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TASKD_CONFIG", raising=False)
    # Root takes no file from the working directory.
    monkeypatch.setattr(os, "geteuid", lambda: uid)

    assert main(["start", "x"]) == exit_codes.UNAVAILABLE
    assert f"taskctl: the configuration is {path}" in capsys.readouterr().err
    assert main(["--config", str(path), "start", "x"]) == exit_codes.UNAVAILABLE
    assert "the configuration is" not in capsys.readouterr().err
