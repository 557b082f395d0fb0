"""A record is one entry with its task in fields, and JSON lines stay JSON whatever a task prints."""

from __future__ import annotations

import json
import logging

import pytest

from taskd.base.lifecycle import Deadline
from taskd.base.log import RecordFormatter
from taskd.supervisor.output.channel import OutputChannel
from taskd.supervisor.output.journal import entry
from taskd.supervisor.output.lines import OutputLine


class Lines:
    """A sink that keeps what it gets."""

    dropped = 0

    def __init__(self) -> None:
        self.lines: list[OutputLine] = []

    def write(self, line: OutputLine) -> None:
        self.lines.append(line)

    def reopen(self) -> None:
        """Nothing is open."""

    def start(self) -> None:
        """Nothing is opened."""

    def quiet(self) -> None:
        """Lines are taken until the end."""

    def stop(self, deadline: Deadline) -> None:
        """Nothing waits."""

    def kill(self) -> None:
        """Nothing waits."""


def written(raw: str, *, as_json: bool = False) -> list[OutputLine]:
    sink = Lines()
    channel = OutputChannel("mail-1", sink, tail_bytes=1 << 20, rate_bytes=0, as_json=as_json)
    channel.write([line.encode() for line in raw.split("\n")], 7)
    return sink.lines


@pytest.mark.usefixtures("within_a_task")
def test_a_traceback_is_one_entry_of_the_journal_that_names_its_task_in_fields() -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError as error:
        caught = (type(error), error, error.__traceback__)
    record = logging.LogRecord("shop", logging.ERROR, "x", 1, "sold %d", (3,), caught)

    (line,) = written(RecordFormatter("mail-1").format(record))

    made = entry(line)
    assert b"PRIORITY=3\n" in made
    assert b"TASKD_TASK=shop.add\n" in made
    assert b"TASKD_TASK_ID=i-1\n" in made
    assert line.text.startswith(b"<3>mail-1: task=shop.add id=i-1 sold 3\n  Traceback")
    assert b"in two" in line.text


@pytest.mark.parametrize(
    "printed", ["\x1e{", '\x1e{"message": 5}', "\x1e" + "[" * 5000, '\x1e{"task":"x"}', "plain"]
)
def test_what_only_looks_like_a_record_is_a_line(printed: str) -> None:
    (line,) = written("<4>" + printed)

    assert (line.text, line.fields) == (f"<4>{printed}".encode(), {})


def test_a_record_that_is_too_long_is_written_line_by_line() -> None:
    record = logging.LogRecord("shop", logging.INFO, "x", 1, "x\n" * 30_000, (), None)

    lines = written(RecordFormatter("mail-1").format(record))

    assert len(lines) > 1000
    assert all(line.text.startswith(b"<6>") for line in lines)


@pytest.mark.parametrize(
    "printed", ["hello", "{not json", "<3>trouble", '{"a": ' + "[" * 5000, "\x1b[31m", "[1]", ""]
)
def test_whatever_a_task_prints_json_lines_stay_json(printed: str) -> None:
    (line,) = written(printed, as_json=True)

    fields = json.loads(line.text)
    assert fields["program"] == "mail-1"
    assert fields["message"] == printed.removeprefix("<3>")
    assert fields["level"] == ("error" if printed.startswith("<3>") else "info")


def test_what_is_json_already_stays_as_it_is() -> None:
    (line,) = written('{"level":"info","message":"x"}', as_json=True)

    assert line.text == b'{"level":"info","message":"x"}'
