"""The journal's native protocol against a socket of our own: large entries, a full queue, a restart."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from taskd.base.loop import Loop
from taskd.supervisor.output.journal import JournalSink
from taskd.supervisor.output.lines import OutputLine
from tests.waiting import wait_until


class Journald:
    """Receives entries; reads nothing unless it is asked to."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(self.path)

    def messages(self) -> list[bytes]:
        found: list[bytes] = []
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.socket, 1 << 20, 1)
            except BlockingIOError:
                return found
            for fd in fds:
                data = os.pread(fd, 1 << 24, 0)
                os.close(fd)
            found.append(data.partition(b"\n")[0].removeprefix(b"MESSAGE="))

    def close(self) -> None:
        self.socket.close()
        os.unlink(self.path)


def line(text: str) -> OutputLine:
    return OutputLine("mail-1", 1, 1, 0.0, text.encode())


def test_an_entry_that_no_datagram_holds_arrives_whole(loop: Loop, tmp_path: Path) -> None:
    journald = Journald(tmp_path / "socket")
    sink = JournalSink(loop, journald.path)
    sink.start()

    sink.write(line("x" * (4 << 20)))

    assert [len(message) for message in journald.messages()] == [4 << 20]
    sink.kill()
    journald.close()


def test_a_journal_that_takes_nothing_gets_the_first_lines_later_and_the_count_of_the_others(
    loop: Loop, tmp_path: Path
) -> None:
    journald = Journald(tmp_path / "socket")
    sink = JournalSink(loop, journald.path)
    sink.start()
    written = [f"{number} {'.' * 1000}" for number in range(5000)]

    for text in written:
        sink.write(line(text))
    received: list[bytes] = []

    def dropped() -> bool:
        loop.run_once(0.01)
        received.extend(journald.messages())
        return b"lines were dropped" in received[-1] if received else False

    wait_until(dropped, 20.0)

    *lines, notice = received
    assert [text.decode() for text in lines] == written[: len(lines)]
    assert notice == (
        f"taskd: {len(written) - len(lines)} lines were dropped: journald did not take them in time".encode()
    )
    assert sink.dropped == len(written) - len(lines)
    sink.kill()
    journald.close()


def test_lines_wait_for_a_journal_that_is_started_again(loop: Loop, tmp_path: Path) -> None:
    journald = Journald(tmp_path / "socket")
    sink = JournalSink(loop, journald.path)
    sink.start()
    sink.write(line("before"))
    journald.close()

    sink.write(line("meanwhile"))
    journald = Journald(tmp_path / "socket")
    sink.write(line("after"))

    received: list[bytes] = []

    def arrived() -> bool:
        loop.run_once(0.01)
        received.extend(journald.messages())
        return len(received) == 2

    wait_until(arrived)
    assert received == [b"meanwhile", b"after"]
    sink.kill()
    journald.close()


def test_a_line_after_the_end_is_dropped_and_opens_nothing(loop: Loop, tmp_path: Path) -> None:
    journald = Journald(tmp_path / "socket")
    sink = JournalSink(loop, journald.path)
    sink.start()
    sink.kill()

    sink.write(line("late"))

    assert sink.dropped == 1
    assert journald.messages() == []
    journald.close()
