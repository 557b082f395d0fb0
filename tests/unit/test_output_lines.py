"""Output of programs: cut into lines, limited, remembered, framed; and its form for the journal."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.supervisor.output.allowance import Allowance
from taskd.supervisor.output.backlog import Backlog
from taskd.supervisor.output.frames import Decoder, FrameKind, encode
from taskd.supervisor.output.journal import entry
from taskd.supervisor.output.lines import MAX_LINE_BYTES, OutputLine, Splitter, split_priority
from taskd.supervisor.output.ring import Ring


def line(text: bytes, number: int = 1, priority: int | None = None) -> OutputLine:
    return OutputLine("mail-1", 42, number, 0.0, text, priority)


@given(st.lists(st.binary(max_size=40)))
def test_lines_are_the_same_however_the_stream_is_cut(chunks: list[bytes]) -> None:
    splitter = Splitter()

    lines = [each for chunk in chunks for each in splitter.feed(chunk)]

    whole = b"".join(chunks).split(b"\n")
    shown = [next((part for part in reversed(each.split(b"\r")) if part), b"") for each in whole]
    assert [*lines, splitter.rest()] == shown


@pytest.mark.parametrize("chunk", [1000, MAX_LINE_BYTES, 10 * MAX_LINE_BYTES])
def test_a_line_without_end_comes_in_pieces_and_loses_nothing(chunk: int) -> None:
    splitter = Splitter()
    data = bytes(3 * MAX_LINE_BYTES + 7) + b"\nnext\n"

    pieces = [piece for at in range(0, len(data), chunk) for piece in splitter.feed(data[at : at + chunk])]

    assert pieces == [bytes(MAX_LINE_BYTES)] * 3 + [bytes(7), b"next"]


def test_after_something_was_dropped_the_next_whole_line_is_the_first_one() -> None:
    splitter = Splitter()
    splitter.feed(b"begun")
    splitter.skip()

    assert splitter.feed(b"rest of a dropped line\nwhole\n") == [b"whole"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"<3>bad", (3, b"bad")),
        (b"<7>", (7, b"")),
        (b"<8>no", (None, b"<8>no")),
        (b"<12>no", (None, b"<12>no")),
        (b"", (None, b"")),
    ],
)
def test_a_priority_is_one_digit_in_brackets(text: bytes, expected: tuple[int | None, bytes]) -> None:
    assert split_priority(text) == expected


def test_a_program_within_its_rate_is_never_limited() -> None:
    allowance = Allowance(1000)

    assert all(allowance.take(1000, float(second)) for second in range(1000))


def test_a_flood_passes_its_burst_and_then_waits_for_a_second_s_worth() -> None:
    allowance = Allowance(1000)

    passed = sum(allowance.take(100, 0.0) for _ in range(1000))

    assert passed == 100
    assert not allowance.take(1, 0.5)
    assert allowance.take(1, 1.1)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 50_000)), max_size=100))
def test_no_more_passes_than_the_burst_and_the_rate_but_for_one_overdraft_a_second(
    writes: list[tuple[float, int]],
) -> None:
    allowance = Allowance(1000)
    now, passed = 0.0, 0

    for pause_s, amount in writes:
        now += pause_s
        passed += amount if allowance.take(amount, now) else 0

    assert passed <= 10_000 + 1000 * now + 50_000 * (now + 1)


def test_the_ring_keeps_the_newest_lines_within_its_memory() -> None:
    ring = Ring(10_000)
    for number in range(1, 1001):
        ring.add(line(bytes(100), number))

    kept = ring.tail(1000)

    assert [each.number for each in kept] == list(range(1001 - len(kept), 1001))
    assert 20 < len(kept) < 100
    assert [each.number for each in ring.after(998)] == [999, 1000]
    assert list(ring.after(1000)) == []
    assert ring.after(3) == kept


def test_the_ring_keeps_one_line_that_is_larger_than_itself() -> None:
    ring = Ring(10)
    ring.add(line(b"a", 1))
    ring.add(line(bytes(1000), 2))

    assert [each.number for each in ring.tail(5)] == [2]


def test_the_backlog_counts_what_it_drops() -> None:
    backlog = Backlog(max_bytes=10)

    taken = [backlog.add(b"12345") for _ in range(4)]

    assert taken == [True, True, False, False]
    assert (backlog.take_dropped(), backlog.take_dropped(), backlog.dropped_total) == (2, 0, 2)


@given(
    st.lists(st.tuples(st.sampled_from(FrameKind), st.text(max_size=20), st.binary(max_size=50))),
    st.integers(1, 30),
)
def test_frames_come_out_as_they_went_in(frames: list[tuple[FrameKind, str, bytes]], chunk: int) -> None:
    data = b"".join(encode(*frame) for frame in frames)
    decoder = Decoder()

    found = [frame for at in range(0, len(data), chunk) for frame in decoder.feed(data[at : at + chunk])]

    assert found == frames


def test_an_entry_of_the_journal_has_its_priority_in_a_field_and_not_in_the_text() -> None:
    fields = entry(line(b"<3>mail-1: lost", priority=3)).split(b"\n")

    assert fields == [
        b"MESSAGE=mail-1: lost",
        b"PRIORITY=3",
        b"SYSLOG_IDENTIFIER=taskd",
        b"SYSLOG_PID=42",
        b"TASKD_PROGRAM=mail-1",
        b"",
    ]


def test_a_message_of_several_lines_is_one_entry_with_its_length() -> None:
    data = entry(OutputLine("taskd", 1, 1, 0.0, b"one\ntwo", 4, {"TASKD_CAUSE": "signal SIGKILL"}))

    assert data.startswith(b"MESSAGE\n" + struct.pack("<Q", 7) + b"one\ntwo\nPRIORITY=4\n")
    assert data.endswith(b"\nTASKD_CAUSE=signal SIGKILL\n")


def test_of_a_line_that_is_overwritten_the_last_text_is_kept() -> None:
    splitter = Splitter()

    assert splitter.feed(b"10 %\r20 %\r30 %") == []
    assert splitter.has_progress
    assert splitter.progress() == b"30 %"
    assert splitter.feed(b"\r40 %\r") == []
    assert splitter.progress() == b"40 %"
    assert splitter.feed(b"100 %\r\ndone\r\nplain\n") == [b"100 %", b"done", b"plain"]
    assert not splitter.has_progress
