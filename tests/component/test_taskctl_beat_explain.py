"""``taskctl beat explain``: a dry run that asks nobody."""

from __future__ import annotations

import json

import pytest

from taskd.base import exit_codes
from taskd.cli.taskctl import main

NIGHTLY = ["beat", "explain", "30 2 * * *", "--zone", "Europe/Berlin", "--from", "2027-03-27", "--for", "3d"]


def test_a_schedule_is_told_in_words_with_its_runs_and_the_change_of_the_clock(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(NIGHTLY) == exit_codes.OK

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "runs at 02:30 every day, Europe/Berlin time"
    assert lines[3:4] == ["2027-03-27 02:30:00+01:00  Sat  2027-03-27 01:30:00+00:00"]
    assert lines[4].endswith("runs due at 02:30 start at 03:00")
    assert lines[5:6] == ["2027-03-28 03:00:00+02:00  Sun  2027-03-28 01:00:00+00:00"]


def test_the_same_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NIGHTLY, "--dst-gap", "skip", "--json"]) == exit_codes.OK

    answer = json.loads(capsys.readouterr().out)
    assert [run["local"] for run in answer["runs"]] == [
        "2027-03-27 02:30:00+01:00",
        "2027-03-29 02:30:00+02:00",
    ]
    assert answer["clock_changes"][0]["remark"].endswith("runs due at 02:30 are left out")
    assert answer["has_more"] is False


def test_more_runs_than_asked_for_are_said_to_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["beat", "explain", "* * * * *", "--limit", "3"]) == exit_codes.OK

    assert capsys.readouterr().out.splitlines()[-1] == "and so on; --limit shows more than 3"


def test_a_schedule_without_a_run_in_the_period_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["beat", "explain", "--at", "2020-01-01T00:00"]) == exit_codes.OK

    assert "no run until" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "named"),
    [
        (["61 * * * *"], exit_codes.CONFIG, "column 1: minute 61 is out of range; expected 0 to 59"),
        (["0 0 31 2 *"], exit_codes.CONFIG, "column 5: no month of FEB has a day 31"),
        (["0 3 * * *", "--zone", "Europe/Berln"], exit_codes.CONFIG, 'did you mean "Europe/Berlin"?'),
        (["0 3 * * *", "--every", "5m"], exit_codes.CONFIG, "every and cron are given"),
        ([], exit_codes.CONFIG, "none of every, cron"),
        (["0 3 * * *", "--from", "soon"], exit_codes.USAGE, "is not a moment such as"),
        (["0 3 * * *", "--for", "soon"], exit_codes.USAGE, "soon"),
    ],
)
def test_a_mistake_is_named(
    words: list[str], status: int, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["beat", "explain", *words]) == status

    assert named in " ".join(capsys.readouterr().err.split())
