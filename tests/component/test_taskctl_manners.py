"""What every verb of taskctl has, also those that will come: help, an example, JSON, a time limit."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import click
import pytest

from taskd.base import exit_codes
from taskd.brokers.factory import connect
from taskd.cli.taskctl import cli, main
from taskd.config.stores import Stores
from taskd.protocol.delivery import Dead
from tests.component.supervised import daemon
from tests.component.taskctl_verbs import VERBS
from tests.contract.brokers import message

LEAVES = [(words, command) for words, command in VERBS if not isinstance(command, click.Group)]
#: The verbs of the daemon that need no more words than a program's name.
OF_THE_DAEMON = [
    ["status"],
    ["stop", "x"],
    ["start", "x"],
    ["restart", "x"],
    ["signal", "x", "TERM"],
    ["shutdown"],
]


@pytest.mark.parametrize(
    ("words", "command"), LEAVES, ids=lambda v: " ".join(v) if isinstance(v, tuple) else ""
)
def test_every_verb_takes_json_and_a_time_limit_and_explains_its_options(
    words: tuple[str, ...], command: click.Command
) -> None:
    options = {name: option for option in command.params for name in option.opts}

    assert {"--json", "--timeout"} <= set(options)
    silent = [
        name for name, option in options.items() if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


def test_the_help_names_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])

    text = " ".join(capsys.readouterr().out.split())
    for status in (
        exit_codes.OK,
        exit_codes.USAGE,
        exit_codes.UNAVAILABLE,
        exit_codes.TEMPFAIL,
        exit_codes.CONFIG,
    ):
        assert f" {status} " in text


@pytest.mark.parametrize("words", OF_THE_DAEMON, ids=" ".join)
def test_no_daemon_is_said_with_the_remedy(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "none")

    assert main([*words, "--socket", path]) == exit_codes.UNAVAILABLE

    error = capsys.readouterr().err
    assert f"taskd is not running: nobody listens on {path}" in error
    assert "systemctl start taskd" in error


def test_a_socket_that_a_killed_daemon_left_is_told_from_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "stale")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(path)

    assert main(["status", "--socket", path]) == exit_codes.UNAVAILABLE

    assert "which a killed daemon left behind" in capsys.readouterr().err


def test_a_path_that_is_no_socket_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file"
    path.write_text("")

    assert main(["status", "--socket", str(path)]) == exit_codes.UNAVAILABLE

    assert f"{path} is not a socket; name taskd's control socket by --socket" in capsys.readouterr().err


def test_a_daemon_that_hangs_is_given_up_in_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "hangs")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(path)
        silent.listen()

        assert main(["status", "--socket", path, "--timeout", "50ms"]) == exit_codes.UNAVAILABLE

    assert f"taskd did not answer on {path} within 0.05 s" in capsys.readouterr().err


def test_a_daemon_that_answers_nonsense_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "nonsense")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b'{"jsonrpc": "2.0", "id": 1, "result": [1]}\n')

        thread = threading.Thread(target=answer)
        thread.start()
        status = main(["status", "--socket", path])
        thread.join()

    assert status == exit_codes.UNAVAILABLE
    assert "is it another version?" in capsys.readouterr().err


def test_a_verb_without_a_limit_of_its_own_gives_up_in_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "taskd.toml"
    path.write_text(f'broker = "sqlite:///{tmp_path}/b.db"\n')
    # purge asks before it acts, and nobody answers.
    program = "import sys\nfrom taskd.cli.taskctl import main\nsys.exit(main(sys.argv[1:]))"
    words = ["--config", str(path), "send", "shop.add", "--queue", "q"]
    assert main(words) == exit_codes.OK
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--config", str(path), "purge", "q", "--timeout", "300ms"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    assert process.wait(60) == exit_codes.TEMPFAIL
    _, error = process.communicate()
    assert "not done within 0.3 s (--timeout)" in error


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == exit_codes.OK
    script = capsys.readouterr().out
    assert main(["completion", shell, "--json"]) == exit_codes.OK

    assert "_TASKCTL_COMPLETE" in script
    assert json.loads(capsys.readouterr().out)["script"] + "\n" == script


def completed(words: str, *, socket_path: str) -> list[str]:
    """Return what bash would offer after these words."""
    program = "import sys\nfrom taskd.cli.taskctl import main\nsys.argv[0] = 'taskctl'\nmain()"
    line = words.replace("SOCKET", socket_path)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            "_TASKCTL_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return [each.partition(",")[2] for each in done.stdout.split()]


def test_verbs_programs_and_signals_are_completed(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"mail": "good", "fetch": "good"}) as running:
        running.wait_for("mail-1", "READY")
        at = running.socket_path

        assert completed("taskctl sta", socket_path=at) == ["status", "start"]
        assert completed("taskctl stop --socket SOCKET m", socket_path=at) == ["mail", "mail-1"]
        assert completed("taskctl signal --socket SOCKET mail-1 US", socket_path=at) == ["USR1", "USR2"]


def test_without_a_daemon_nothing_is_completed_and_nothing_is_said() -> None:
    assert completed("taskctl stop --socket SOCKET m", socket_path="/nonexistent") == []


def test_queues_tasks_entries_and_dead_letters_are_completed_from_the_files(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/broker.db"
    file = tmp_path / "taskd.toml"
    file.write_text(
        f'app = "x:app"\nbroker = "{url}"\n[worker.w]\nqueues = ["mail"]\n'
        f'[supervisor]\ncontrol_socket = "{tmp_path}/none"\n'
        f'[beat.schedule.nightly]\ntask = "shop.tidy"\nevery = "1h"\n'
    )
    with closing(connect(url, Stores())) as broker:
        broker.publisher().publish([message("a", "mial"), message("b", "m$(reboot)"), message("c", "m\n")])
        with closing(broker.intake("test", ["mial"])) as intake:
            intake.settle([Dead(each.tag, "boom", b"{}") for each in intake.claim(1)])

    def offered(words: str) -> list[str]:
        return completed(f"taskctl --config {file} {words}", socket_path="")

    assert offered("purge m") == ["mail", "mial"]
    assert offered("dlq show ") == offered("dlq requeue ") == ["1"]
    assert offered("send shop.") == offered("revoke --name s") == ["shop.tidy"]
    assert offered("beat pause n") == offered("beat next n") == ["nightly"]
    assert offered("result x") == []
    file.write_text("broken")
    assert offered("purge m") == offered("beat pause n") == []


def test_the_ids_of_running_tasks_are_completed(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    file = tmp_path / "taskd.toml"
    file.write_text(f'[supervisor]\ncontrol_socket = "{path}"\n')
    children = [
        {"program": "w-1", "pid": 7, "state": "busy", "id": "id-1"},
        {"program": "w-1", "pid": 8, "state": "idle"},
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()

        def answer() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1000)
                    said = {"jsonrpc": "2.0", "id": 1, "result": {"children": children}}
                    connection.sendall(json.dumps(said).encode() + b"\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        found = [
            completed(f"taskctl --config {file} {verb} i", socket_path="") for verb in ("revoke", "result")
        ]

    assert found == [["id-1"], ["id-1"]]


def test_the_commands_are_built_once_however_often_they_are_looked_up() -> None:
    context = click.Context(cli)
    first, second = (cli.get_command(context, "queues") for _ in range(2))

    assert first is second
    assert first is not None
    assert sum("--timeout" in parameter.opts for parameter in first.params) == 1
