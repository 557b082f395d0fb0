"""What a log record looks like in each format."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from taskd.base.log import JournalFormatter, JsonFormatter, PlainFormatter


def record(
    message: str, *arguments: object, level: int = logging.INFO, error: bool = False
) -> logging.LogRecord:
    info = None
    if error:
        try:
            raise ValueError("broken\nin two")
        except ValueError:
            info = sys.exc_info()
    return logging.LogRecord("taskd.x", level, "x.py", 1, message, arguments, info)


def test_plain_shows_time_level_program_and_message() -> None:
    line = PlainFormatter("mail-1").format(record("queue=%s is 100%% full", "mail", level=logging.WARNING))

    assert line.endswith("WARNING mail-1: queue=mail is 100% full")
    assert line[:2] == "20"


def test_json_is_one_object_a_line_even_with_a_traceback() -> None:
    text = JsonFormatter("mail-1").format(record("it failed", level=logging.ERROR, error=True))

    fields = json.loads(text)
    assert "\n" not in text
    assert fields["level"] == "error"
    assert fields["program"] == "mail-1"
    assert "ValueError: broken" in fields["traceback"]


def test_every_line_for_the_journal_has_the_priority() -> None:
    lines = JournalFormatter("beat").format(record("it failed", level=logging.ERROR, error=True)).split("\n")

    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)
    assert lines[0] == "<3>beat: it failed"


def test_the_levels_become_syslog_priorities() -> None:
    formatter = JournalFormatter("beat")
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)

    assert [formatter.format(record("x", level=level))[:3] for level in levels] == [
        "<7>",
        "<6>",
        "<4>",
        "<3>",
        "<3>",
    ]


@pytest.mark.usefixtures("within_a_task")
def test_a_line_of_a_task_names_the_task() -> None:
    entry = record("sold %d", 3)

    assert PlainFormatter("mail-1").format(entry).endswith("INFO    mail-1: task=shop.add id=i-1 sold 3")
    assert JournalFormatter("mail-1").format(entry) == "<6>mail-1: task=shop.add id=i-1 sold 3"
    fields = json.loads(JsonFormatter("mail-1").format(entry))
    assert (fields["task"], fields["id"], fields["message"]) == ("shop.add", "i-1", "sold 3")


@pytest.mark.usefixtures("within_a_task")
def test_a_line_that_names_its_task_already_names_it_once() -> None:
    line = PlainFormatter("mail-1").format(record("task=shop.add id=i-1 failed"))

    assert line.endswith("mail-1: task=shop.add id=i-1 failed")


def test_outside_of_a_task_none_is_named() -> None:
    assert "task" not in json.loads(JsonFormatter("mail-1").format(record("ready")))
    assert PlainFormatter("mail-1").format(record("ready")).endswith("mail-1: ready")
