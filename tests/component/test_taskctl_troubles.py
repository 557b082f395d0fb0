"""Every verb of taskctl says in a line that the broker is away, the file unwritable, or the output full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from taskd.base import exit_codes
from taskd.cli.taskctl import main
from tests.component.taskctl_verbs import LEAVES, call_of
from tests.services import port_without_listener

#: Those that must reach the broker: they say so with the exit status 69.
ASK_THE_BROKER = ("inspect", "control", "revoke", "rate-limit", "queues", "purge", "dlq", "events", "send")


#: One changes the machine itself, one asks an app and no broker; they have tests of their own.
NOT_HERE = {("install-unit",), ("import", "celery")}
CALLS = [call_of(words, command) for words, command in LEAVES if words not in NOT_HERE]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, without a terminal or an editor."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDITOR", "true")
    return tmp_path


@pytest.fixture
def open_to_all(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same for every user to read; what holds pytest's own is closed at each start of another pytest."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        monkeypatch.chdir(made)
        yield Path(made)
        monkeypatch.chdir(elsewhere)


def file_with(directory: Path, broker: str) -> str:
    file = directory / "taskd.toml"
    file.write_text(
        f'app = "x:app"\nbroker = "{broker}"\nresults = "null://"\n[worker.main]\n'
        f'[supervisor]\ncontrol_socket = "none.sock"\nstate_directory = "."\n'
        f'[redis]\ntimeout = "2s"\n[amqp]\ntimeout = "2s"\n[sqlite]\nbusy_timeout = "1s"\n'
    )
    return str(file)


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def assert_said(call: list[str], status: int, error: str) -> None:
    assert "Traceback" not in error
    assert len(error.splitlines()) <= 3, error
    assert status in {0, 1, 69, 73, 75, 78}, error
    if call[0] in ASK_THE_BROKER:
        assert status == exit_codes.UNAVAILABLE, error


@pytest.mark.parametrize("call", CALLS, ids=lambda call: "-".join(call[:-2]))
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_away_is_one_line(
    scheme: str, call: list[str], elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with port_without_listener() as port:
        server = f"127.0.0.1:{port}"
        status = main(["--config", file_with(elsewhere, f"{scheme}://app:hunter2@{server}/"), *call])

    said = capsys.readouterr()
    assert_said(call, status, said.err)
    assert "hunter2" not in said.out + said.err
    if call[0] in ASK_THE_BROKER:
        assert f"{scheme}://{server}" in said.err
        assert "is the server up" in said.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be nobody")
# The short time limit may strike in a finalizer first.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("call", CALLS, ids=lambda call: "-".join(call[:-2]))
def test_a_database_that_may_not_be_written_is_one_line(
    call: list[str], open_to_all: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Once as root: nobody may not read the modules of a Python that lies below /root.
    (open_to_all / "warm").mkdir()
    main(["--config", file_with(open_to_all / "warm", "sqlite://broker.db"), *call[:-1], "10ms"])
    capsys.readouterr()
    config = file_with(open_to_all, "sqlite://broker.db")
    with as_nobody():
        status = main(["--config", config, *call])

    error = capsys.readouterr().err
    assert_said(call, status, error)
    if call[0] in ASK_THE_BROKER:
        assert "may not write the directory" in error


def taskctl(arguments: list[str], redirection: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("taskctl"))
    script = f'"$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", script, "sh", program, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-"])
@pytest.mark.parametrize("call", [["--help"], ["config", "show"], ["check", "--json"]], ids="-".join)
def test_an_output_that_takes_nothing_is_one_line(redirection: str, call: list[str], elsewhere: Path) -> None:
    done = taskctl(["--config", file_with(elsewhere, "sqlite://b.db"), *call], redirection)

    assert done.returncode == exit_codes.FAILURE
    assert done.stderr.startswith("taskctl: the output cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


def test_closed_streams_harm_nothing(elsewhere: Path) -> None:
    call = ["--config", file_with(elsewhere, "sqlite://b.db"), "queues"]

    assert taskctl(call, "<&- 2>&-").returncode == exit_codes.OK
