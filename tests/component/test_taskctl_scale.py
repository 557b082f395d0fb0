"""taskctl scale: more and fewer programs of a worker at run time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd.base import exit_codes
from taskd.cli.taskctl import main
from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningSupervisor]:
    with daemon(tmp_path, modes={"mail": "good"}) as running:
        running.wait_for("mail-1", "READY")
        yield running


def states(running: RunningSupervisor) -> dict[str, str]:
    return {row["name"]: row["state"] for row in running.call("status")["programs"]}


def test_more_are_started_and_waited_for_and_the_first_stays(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    first = running.row("mail-1")["pid"]

    assert main(["scale", "mail", "3", "--socket", running.socket_path]) == exit_codes.OK

    assert capsys.readouterr().out == "mail: 3 processes\n"
    assert states(running) == {"mail-1": "READY", "mail-2": "READY", "mail-3": "READY"}
    assert running.row("mail-1")["pid"] == first


def test_those_that_are_too_many_leave(
    running: RunningSupervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["scale", "mail", "3", "--socket", running.socket_path])
    capsys.readouterr()

    assert main(["scale", "mail", "1", "--json", "--socket", running.socket_path]) == exit_codes.OK

    assert json.loads(capsys.readouterr().out) == {"version": 1, "group": "mail", "processes": 1}
    wait_until(lambda: len(states(running)) == 1)


def test_the_same_number_again_changes_nothing(running: RunningSupervisor) -> None:
    pid = running.row("mail-1")["pid"]

    for _ in range(3):
        running.call("scale", name="mail", processes=1)

    assert running.row("mail-1")["pid"] == pid
    assert "before 1" not in running.log


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mail-1", "2"], "no worker 'mail-1' (a single program cannot be scaled); there are: mail"),
        (["nail", "2"], "no worker 'nail'"),
    ],
)
def test_what_cannot_be_scaled_is_refused(
    running: RunningSupervisor, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scale", *words, "--socket", running.socket_path]) == exit_codes.FAILURE

    assert message in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "many", "1001"])
def test_a_number_that_is_none_is_wrong_usage(count: str) -> None:
    assert main(["scale", "mail", "--socket", "/nonexistent", "--", count]) == exit_codes.USAGE
