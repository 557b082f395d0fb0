"""What others chose as a name, an id or a value forges no line and steers no terminal."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.base import safe_text
from taskd.base.log import JournalFormatter, JsonFormatter, PlainFormatter, formatter
from taskd.brokers.desk import DeadLetter, DeadMessage
from taskd.cli import letters
from taskd.cli.output import echo_json, echo_table
from taskd.supervisor.control.access import Peer
from taskd.supervisor.control.audit import Audit

#: A newline and a forged line, then what a terminal obeys: ESC, DEL, C1, marks of direction, separators.
FORGED = "2026-01-01 00:00:00.000 INFO    taskd: audit user=root verb=shutdown outcome='ok'"
EVIL = f"shop\r\n{FORGED}\x1b[2J\x7f\x9b1m\u202e\u2066\u2028\u0085"
ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from(EVIL))


def shows_nothing_unsafe(text: str) -> bool:
    return all(safe_text._is_safe(char) for char in text)


@given(ANY_TEXT)
def test_whatever_the_text_one_line_is_one_line_and_a_block_has_no_other_beginning(text: str) -> None:
    assert shows_nothing_unsafe(safe_text.one_line(text))
    first, *further = safe_text.block(text).split("\n")
    assert shows_nothing_unsafe("".join([first, *further]))
    assert all(line.startswith(safe_text.INDENT) for line in further)


@given(st.dictionaries(ANY_TEXT, ANY_TEXT))
def test_json_keeps_its_values_and_shows_nothing_unsafe(value: dict[str, str]) -> None:
    shown = safe_text.json_text(json.dumps(value, ensure_ascii=False, indent=2))

    assert json.loads(shown) == json.loads(json.dumps(value))
    assert shows_nothing_unsafe(shown.replace("\n", ""))


def test_words_of_every_script_stay_as_they_are() -> None:
    for text in ("Grüße, 日本語　テスト", "می‌خواهم", "👩‍💻 ok", "a\tb", "10\u00a0€"):
        assert safe_text.one_line(text) == text


@pytest.mark.parametrize(
    "made",
    [
        PlainFormatter("mail-1"),
        JournalFormatter("mail-1"),
        JsonFormatter("mail-1"),
        formatter("auto", "taskd", to_journal=True),
    ],
)
@pytest.mark.parametrize("logger", ["taskd.consumer.outcomes", "shop"])
def test_a_record_has_one_beginning_in_every_format(made: logging.Formatter, logger: str) -> None:
    record = logging.LogRecord(
        logger, logging.INFO, "x", 1, "task=%s id=%s %s", (EVIL, "i", ValueError(EVIL)), None
    )

    first, *further = made.format(record).split("\n")

    assert shows_nothing_unsafe("".join([first, *further]))
    assert not any(FORGED in line and not line.startswith((" ", "<6>  ")) for line in further)
    assert not further or logger == "shop", "the arguments of taskd's own records are data"


def test_a_traceback_is_indented_below_its_record() -> None:
    record = logging.LogRecord(
        "taskd.x", 40, "x", 1, "task=%s\n%s", ("a\nb", safe_text.Block("Traceback\nline")), None
    )

    assert PlainFormatter("mail-1").format(record).split("mail-1: ")[1] == "task=a\\nb\n  Traceback\n  line"


def test_the_audit_shows_params_that_forge_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        Audit({}).failed(Peer(1, 0, 0, frozenset()), "stop", {"name": EVIL}, f"no program {EVIL}")

    shown = PlainFormatter("taskd").format(caplog.records[0])
    assert "\n" not in shown
    assert shows_nothing_unsafe(shown)


def test_a_dead_letter_and_a_table_have_as_many_lines_as_they_have_facts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    letter = DeadLetter(1, EVIL, EVIL, EVIL, EVIL, 0.0, 3)
    dead = DeadMessage(
        letter=letter,
        headers=b"{}",
        content_type=EVIL,
        content_encoding=EVIL,
        body=EVIL.encode(),
        evidence=EVIL.encode(),
    )

    shown = list(letters.lines(dead))
    echo_table(letters.COLUMNS, [letters.row(letter)])
    table = capsys.readouterr().out
    echo_json(letters.all_facts(dead))

    assert len(table.splitlines()) == 2
    assert not any(line.startswith(FORGED[:4]) for line in "\n".join(shown).split("\n"))
    assert shows_nothing_unsafe("".join([*shown, table, capsys.readouterr().out]).replace("\n", ""))
