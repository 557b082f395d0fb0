"""Reports between a child and its pool, through the socket and through the shared memory."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from taskd.pools.base import Done, Job
from taskd.pools.prefork import slot as slots
from taskd.pools.prefork.handle import Child
from taskd.pools.prefork.last_lines import last_lines, note
from taskd.pools.prefork.slot import AREA_BYTES, ReportWriter, Slot
from taskd.pools.prefork.wire import FrameReader, SkippedJob, decode_jobs, encode_jobs
from tests import fuzzing
from tests.component.prefork_garbage import attack


class Ends:
    """A child as its pool sees it, and what the child's process would hold."""

    def __init__(self) -> None:
        self.pool_end = Child(1)
        self.sock, fd = self.pool_end.passed_fds()
        self.slot = Slot(fd)
        self.writer = ReportWriter(self.slot, self.sock)

    def send(self, count: int) -> None:
        self.pool_end.send([Job(tag, b"payload") for tag in range(count)])

    def begin(self, number: int) -> None:
        self.slot.words[slots.BEGUN] = number

    def close(self) -> None:
        self.slot.close()
        self.pool_end.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


def done(tag: int, size: int = 1) -> Done:
    return Done(tag, b"r" * size, 0.25)


def test_reports_travel_together_when_they_are_flushed(ends: Ends) -> None:
    ends.send(3)
    for tag in range(3):
        ends.writer.append(done(tag))

    with pytest.raises(BlockingIOError):
        ends.pool_end.receive()
    ends.writer.flush()

    assert ends.pool_end.receive() == ([done(0), done(1), done(2)], [])
    assert not ends.pool_end.in_hand


def test_unsent_reports_are_found_in_the_memory_and_not_counted_twice(ends: Ends) -> None:
    ends.send(3)
    ends.writer.append(done(0))
    ends.writer.append(done(1))

    assert ends.pool_end.rescue() == ([done(0), done(1)], [])
    assert ends.pool_end.rescue() == ([], [])
    ends.writer.append(done(2))
    ends.writer.flush()

    assert ends.pool_end.receive() == ([done(2)], [])


def test_a_child_in_a_long_job_is_overheard_only_when_what_it_sent_was_read(ends: Ends) -> None:
    ends.send(3)
    ends.begin(1)
    ends.writer.append(done(0))
    ends.writer.flush()
    ends.begin(2)
    ends.writer.append(done(1))
    ends.begin(3)

    assert ends.pool_end.overhear() is None, "the report of the first job is still on its way"
    assert ends.pool_end.receive() == ([done(0)], [])
    assert ends.pool_end.overhear() == ([done(1)], [])


def test_a_report_that_does_not_fit_goes_straight_through_the_socket(ends: Ends) -> None:
    ends.send(3)
    huge = done(1, size=3 * AREA_BYTES)

    def child() -> None:
        for report in (done(0), huge, done(2)):
            ends.writer.append(report)
        ends.writer.flush()

    thread = threading.Thread(target=child)
    thread.start()
    ends.pool_end.sock.setblocking(True)
    outcomes: list[object] = []
    while len(outcomes) < 3:
        received = ends.pool_end.receive()
        assert received is not None
        outcomes += received[0]
    thread.join()

    assert outcomes == [done(0), huge, done(2)]


def test_a_full_area_is_sent_without_being_asked(ends: Ends) -> None:
    ends.send(10)
    for tag in range(10):
        ends.writer.append(done(tag, size=AREA_BYTES // 4))

    received = ends.pool_end.receive()

    assert received is not None
    assert len(received[0]) > 0


def test_jobs_that_were_held_back_are_taken_from_behind_the_running_one(ends: Ends) -> None:
    ends.send(4)
    ends.begin(2)
    ends.writer.append(done(0))

    ends.pool_end.hold()

    assert [job.tag for job in ends.pool_end.take_back()] == [2, 3]
    assert ends.slot.words[slots.HOLD] == 4
    for report in (done(1), SkippedJob(2), SkippedJob(3)):
        ends.writer.append(report)
    ends.writer.flush()
    assert ends.pool_end.receive() == ([done(0), done(1)], [])
    assert not ends.pool_end.in_hand


def test_a_skipped_job_that_was_not_taken_back_yet_comes_back(ends: Ends) -> None:
    ends.send(2)
    ends.pool_end.hold()
    ends.begin(2)
    ends.writer.append(SkippedJob(0))
    ends.writer.append(SkippedJob(1))
    ends.writer.flush()

    received = ends.pool_end.receive()

    assert received is not None
    assert [job.tag for job in received[1]] == [0, 1]
    assert ends.pool_end.take_back() == []


def test_a_report_of_another_job_is_refused(ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    ends.send(1)
    ends.writer.append(done(5))
    ends.writer.flush()

    assert ends.pool_end.receive() == ([], [])
    assert ends.pool_end.nonsense
    assert "job 5 instead of 0" in caplog.text


def test_the_running_job_is_the_one_begun_and_not_reported(ends: Ends) -> None:
    ends.send(2)
    assert ends.pool_end.running() is None

    ends.begin(1)
    begun = ends.slot.times[slots.SINCE] = time.monotonic()
    running = ends.pool_end.running()
    assert running is not None
    assert (running.tag, running.since) == (0, begun)

    ends.writer.append(done(0))
    assert ends.pool_end.running() is None


def test_frames_are_cut_wherever_the_stream_was_torn() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        batches = [[Job(1, b"small")], [Job(2, os.urandom(150_000))], [Job(3, b""), Job(4, b"x")]]
        stream = b"".join(bytes(encode_jobs(batch)) for batch in batches)
        reader = FrameReader(ours)
        received: list[list[Job]] = []
        for start in range(0, len(stream), 4099):
            theirs.sendall(stream[start : start + 4099])
            received += [decode_jobs(frame) for frame in reader.receive() or []]
        theirs.close()
        while (frames := reader.receive()) is not None:
            received += [decode_jobs(frame) for frame in frames]

        assert received == batches


def test_the_last_lines_are_those_of_the_present_job(ends: Ends) -> None:
    note(ends.slot, "of the job before\n")
    ends.slot.words[slots.SAID] = ends.slot.words[slots.NOTED]

    note(ends.slot, "one\n")
    note(ends.slot, "zwei und schön\n")

    assert last_lines(ends.pool_end.slot) == "one\nzwei und schön\n"


def test_of_a_flood_of_lines_the_last_whole_ones_are_kept(ends: Ends) -> None:
    for number in range(10_000):
        note(ends.slot, f"line {number}\n")

    kept = last_lines(ends.pool_end.slot).splitlines()

    assert kept == [f"line {number}" for number in range(10_000 - len(kept), 10_000)]
    assert len(kept) > 300


def test_one_line_that_is_longer_than_the_memory_is_kept_by_its_end(ends: Ends) -> None:
    note(ends.slot, "x" * 100_000 + "\nthe end\n")

    assert last_lines(ends.pool_end.slot) == "the end\n"


def test_whatever_a_child_writes_each_of_its_jobs_ends_once() -> None:
    fuzzing.each_case(1500, attack)
