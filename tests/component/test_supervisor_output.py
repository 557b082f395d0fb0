"""What becomes of what programs write: real processes, real pipes, and disks that do not take it."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from taskd.base import clock
from taskd.base.errors import ControlError
from taskd.base.loop import Loop
from taskd.host import procinfo
from taskd.host.resident import resident_bytes
from taskd.supervisor.clock_watch import ClockWatch
from taskd.supervisor.output import rotation
from tests.component.fake_output import FLOOD_BYTES
from tests.component.program_tables import program
from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until

_MOST_MEMORY_BYTES = 64 << 20


def lines(running: RunningSupervisor, name: str, **params: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = running.call("logs", name=name, **params)["lines"]
    return rows


def texts(running: RunningSupervisor, name: str, **params: object) -> list[str]:
    return [line["text"] for line in lines(running, name, **params)]


def order(gate: Path, text: str) -> None:
    """Have the program of the mode on-demand write something."""
    with gate.open("w") as orders:
        orders.write(text)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def test_both_streams_are_kept_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "prints"}) as running:
        running.wait_for("a-1", "READY")

        written = wait_until(lambda: len(rows := lines(running, "a-1")) == 7 and rows)

        assert [line["text"] for line in written] == [
            *(f"line {number}" for number in range(1, 6)),
            "\\xff\x00 garbage",
            "a warning",
        ]
        assert [line["number"] for line in written] == list(range(1, 8))
        assert [line["priority"] for line in written] == [None] * 6 + [4]
        assert {line["pid"] for line in written} == {running.row("a-1")["pid"]}


def test_without_a_journal_or_files_output_goes_to_standard_error_as_it_came(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "prints"}) as running:
        running.wait_for("a-1", "READY")
        running.stop()

        written = (tmp_path / "log").read_bytes().split(b"\n")
        expected = [
            b"line 1",
            b"line 2",
            b"line 3",
            b"line 4",
            b"line 5",
            b"\xff\x00 garbage",
            b"<4>a warning",
        ]
        assert [line for line in written if line in expected] == expected


def test_the_last_line_is_kept_although_it_has_no_end(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "last-line"}, restart_delay=60.0) as running:
        running.wait_for("a-1", "BACKOFF")

        assert texts(running, "a-1")[:2] == ["whole", "half a line"]


def test_the_last_lines_can_be_asked_for_and_what_came_after_them(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "prints", "b": "prints"}) as running:
        running.wait_for("a-1", "READY")
        wait_until(lambda: len(lines(running, "a-1")) == 7)

        assert texts(running, "a-1", count=2) == ["\\xff\x00 garbage", "a warning"]
        assert texts(running, "a-1", after={"a-1": 6}) == ["a warning"]
        assert texts(running, "a-1", after={"a-1": 7}) == []
        assert {line["program"] for line in lines(running, "a", count=5)} == {"a-1"}
        assert any("taskd" in text for text in texts(running, "taskd"))


@pytest.mark.parametrize(
    "params", [{"count": -1}, {"count": "many"}, {"after": [1]}, {"after": {"a-1": "x"}}]
)
def test_wrong_questions_for_lines_are_refused(tmp_path: Path, params: dict[str, object]) -> None:
    with daemon(tmp_path, modes={"a": "good"}) as running:
        running.wait_for("a-1", "READY")

        with pytest.raises(ControlError, match="expected"):
            running.call("logs", name="a-1", **params)


def test_a_flood_is_bounded_in_memory_counted_and_not_noticed_by_others(tmp_path: Path, gate: Path) -> None:
    environ = {"FAKE_GATE": str(gate)}
    with daemon(tmp_path, environ, modes={"a": "shouts", "b": "on-demand"}, log={"rate": 1 << 20}) as running:
        running.wait_for("b-1", "READY")
        running.wait_for("a-1", "READY")

        order(gate, "heard in the flood\n")
        wait_until(lambda: "heard in the flood" in texts(running, "b-1"))
        wait_until(lambda: running.row("a-1")["done"], 60.0, "the end of the flood")

        assert resident_bytes([running.pid]) < _MOST_MEMORY_BYTES
        notice = wait_until(
            lambda: (last := texts(running, "a-1", count=1)[0]) and "dropped" in last and last
        )
        assert "more than 1048576 bytes a second (log.rate)" in notice
        assert (tmp_path / "log").stat().st_size < FLOOD_BYTES / 2
        assert running.stop() == 0


@pytest.mark.slow
@pytest.mark.timeout(540)
def test_a_gigabyte_goes_through_the_pipe_into_files_of_bounded_size(tmp_path: Path, gate: Path) -> None:
    environ = {"FAKE_GATE": str(gate), "FAKE_FLOOD_BYTES": str(1 << 30)}
    settings = files(tmp_path, max_bytes=1 << 20, backups=2)
    with daemon(tmp_path, environ, modes={"a": "shouts", "b": "on-demand"}, log=settings) as running:
        running.wait_for("b-1", "READY")
        running.wait_for("a-1", "READY")

        order(gate, "heard in the flood\n")
        wait_until(lambda: "heard in the flood" in content(tmp_path, "b-1.log"))
        running.call("restart", name="b-1")
        running.wait_for("b-1", "READY")
        wait_until(lambda: running.row("a-1")["done"], 500.0, "the end of the flood")

        assert resident_bytes([running.pid, *procinfo.descendants(running.pid)]) < 3 * _MOST_MEMORY_BYTES
        assert resident_bytes([running.pid]) < _MOST_MEMORY_BYTES
        assert running.row("a-1")["restarts"] == 0
        assert running.stop() == 0
    kept = [path.stat().st_size for path in (tmp_path / "logs").glob("a-1.log*")]
    assert len(kept) == 3
    assert max(kept) <= 1 << 20


def test_a_line_of_a_megabyte_comes_in_pieces_and_the_next_one_whole(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "long-line"}, log={"tail": 4 << 20}) as running:
        running.wait_for("a-1", "READY")

        written = wait_until(lambda: (found := texts(running, "a-1"))[-1:] == ["next"] and found)

        assert sum(map(len, written[:-1])) == 1_000_000
        assert {len(piece) for piece in written[:-2]} == {48 * 1024}


def test_a_program_may_close_its_output(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "closes-output"}) as running:
        assert running.wait_for("a-1", "READY")["restarts"] == 0
        assert running.stop() == 0


def test_a_descendant_that_keeps_the_pipe_does_not_hide_the_end_of_its_program(
    tmp_path: Path, gate: Path
) -> None:
    environ = {"FAKE_GATE": str(gate)}
    with daemon(tmp_path, environ, modes={"a": "leaves-writer", "b": "good"}) as running:
        running.wait_for("b-1", "READY")
        wait_until(lambda: running.row("a-1")["restarts"], what="the restart")

        assert "the descendant writes" in texts(running, "a-1")


def test_a_standard_error_that_nobody_reads_does_not_stop_the_daemon(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        with daemon(tmp_path, modes={"a": "shouts", "b": "good"}, stderr=writing) as running:
            running.wait_for("a-1", "READY")
            wait_until(lambda: running.row("a-1")["done"], 60.0, "the end of the flood")

            running.call("restart", name="b-1")
            running.wait_for("b-1", "READY")

            assert running.call("status")["taskd"]["lines_dropped"] > 0
            assert running.stop() == 0
    finally:
        os.close(reading)
        os.close(writing)


# -- files -----------------------------------------------------------------------------------


def content(tmp_path: Path, name: str) -> str:
    path = tmp_path / "logs" / name
    return path.read_text(errors="replace") if path.exists() else ""


def files(tmp_path: Path, **settings: object) -> dict[str, object]:
    return {"directory": str(tmp_path / "logs"), **settings}


def test_each_program_has_a_file_and_the_daemon_too(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "prints", "b": "prints"}, log=files(tmp_path)) as running:
        running.wait_for("a-1", "READY")
        running.wait_for("b-1", "READY")
        assert running.stop() == 0

        assert content(tmp_path, "a-1.log").startswith("line 1\nline 2\n")
        assert content(tmp_path, "a-1.log").endswith("garbage\na warning\n")
        assert content(tmp_path, "b-1.log").startswith("line 1\n")
        assert "taskd ended" in content(tmp_path, "taskd.log")
        assert "taskd ended" in running.log
        assert running.left_behind() == []


def test_a_full_file_is_rotated_and_the_oldest_is_dropped(tmp_path: Path, gate: Path) -> None:
    settings = files(tmp_path, max_bytes=100, backups=2)
    with daemon(tmp_path, {"FAKE_GATE": str(gate)}, modes={"a": "on-demand"}, log=settings) as running:
        running.wait_for("a-1", "READY")

        order(gate, "".join(f"line {number:03d} {'.' * 40}\n" for number in range(9)))
        wait_until(lambda: "line 008" in content(tmp_path, "a-1.log"))

        assert sorted(path.name for path in (tmp_path / "logs").glob("a-1*")) == [
            "a-1.log", "a-1.log.1", "a-1.log.2",
        ]  # fmt: skip
        assert "line 007" in content(tmp_path, "a-1.log.1")
        assert "line 005" in content(tmp_path, "a-1.log.2")


def test_usr1_opens_the_files_by_their_names_again(tmp_path: Path, gate: Path) -> None:
    environ = {"FAKE_GATE": str(gate)}
    with daemon(tmp_path, environ, modes={"a": "on-demand"}, log=files(tmp_path)) as running:
        running.wait_for("a-1", "READY")
        with gate.open("w") as orders:
            orders.write("before\n")
            orders.flush()
            wait_until(lambda: content(tmp_path, "a-1.log") == "before\n")
            (tmp_path / "logs" / "a-1.log").rename(tmp_path / "logs" / "moved")

            running.signal(signal.SIGUSR1)
            wait_until(lambda: any("opened anew" in text for text in texts(running, "taskd")))
            orders.write("after\n")
            orders.flush()
            wait_until(lambda: content(tmp_path, "a-1.log") == "after\n")

        assert content(tmp_path, "moved") == "before\n"


def test_files_that_cannot_be_written_are_said_and_what_was_lost_is_counted(
    tmp_path: Path, gate: Path
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a-1.log").mkdir()
    environ = {"FAKE_GATE": str(gate)}
    with daemon(tmp_path, environ, modes={"a": "on-demand"}, log=files(tmp_path)) as running:
        running.wait_for("a-1", "READY")
        with gate.open("w") as orders:
            orders.write("one\ntwo\n")
            orders.flush()
            trouble = wait_until(lambda: running.call("status")["taskd"]["log_trouble"])
            wait_until(lambda: "two" in texts(running, "a-1"))
            wait_until(lambda: running.call("status")["taskd"]["lines_dropped"] == 2)
            (tmp_path / "logs" / "a-1.log").rmdir()
            orders.write("three\n")
            orders.flush()
            written = wait_until(lambda: content(tmp_path, "a-1.log"))

        assert "Is a directory" in trouble
        assert written.splitlines()[0].startswith("taskd: 2 lines were lost here: ")
        assert written.splitlines()[1] == "three"
        wait_until(lambda: not running.call("status")["taskd"]["log_trouble"])


def test_a_disk_that_hangs_stops_nothing_and_delays_the_end_a_little(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    os.mkfifo(tmp_path / "logs" / "a-1.log")  # opening it for writing waits for a reader: for ever
    with daemon(tmp_path, modes={"a": "shouts", "b": "good"}, log=files(tmp_path)) as running:
        wait_until(lambda: running.wait_for("a-1", "READY"))
        wait_until(lambda: running.row("a-1")["done"], 60.0, "the end of the flood")
        running.call("restart", name="b-1")
        running.wait_for("b-1", "READY")

        assert running.stop() == 0
        wait_until(lambda: not running.left_behind())


def test_the_writer_is_started_again_when_it_is_killed(tmp_path: Path, gate: Path) -> None:
    environ = {"FAKE_GATE": str(gate)}
    with daemon(tmp_path, environ, modes={"a": "on-demand"}, log=files(tmp_path)) as running:
        program = running.wait_for("a-1", "READY")["pid"]
        (writer,) = (pid for pid in procinfo.descendants(running.pid) if pid != program)

        os.kill(writer, signal.SIGKILL)
        wait_until(lambda: any("next start in" in text for text in texts(running, "taskd")))
        order(gate, "after the death of the writer\n")

        wait_until(lambda: "after the death of the writer" in content(tmp_path, "a-1.log"))
        assert running.row("a-1")["restarts"] == 0


def test_kill_nine_of_the_daemon_leaves_no_writer_and_loses_no_line(tmp_path: Path, gate: Path) -> None:
    environ = {"FAKE_GATE": str(gate)}
    with daemon(tmp_path, environ, modes={"a": "on-demand"}, log=files(tmp_path)) as running:
        running.wait_for("a-1", "READY")
        with gate.open("w") as orders:
            orders.write("the first line\n")
            orders.flush()
            wait_until(lambda: content(tmp_path, "a-1.log"))
            orders.write("the last line\n")
        wait_until(lambda: "the last line" in texts(running, "a-1"))

        running.signal(signal.SIGKILL)

        wait_until(lambda: not running.left_behind())
        assert "the last line" in content(tmp_path, "a-1.log")


def test_a_log_file_that_somebody_deleted_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "_LOOK_EVERY_S", 0.0)
    file = rotation.RotatedFile(str(tmp_path / "f"), max_bytes=0, backups=0)
    file.write(b"one\n")
    (tmp_path / "f").unlink()
    file.write(b"two\n")
    (tmp_path / "f").rename(tmp_path / "moved")
    file.write(b"three\n")
    file.close()

    assert (tmp_path / "moved").read_text() == "two\n"
    assert (tmp_path / "f").read_text() == "three\n"


def test_a_line_that_a_full_disk_cut_off_leaves_no_half_behind(tmp_path: Path) -> None:
    file = rotation.RotatedFile(str(tmp_path / "f"), max_bytes=0, backups=0)
    file.write(b"one\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))  # the disk has four bytes more
    try:
        with pytest.raises(OSError, match="File too large"):
            file.write(b"two three\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, former)
    file.write(b"four\n")
    file.close()

    assert (tmp_path / "f").read_text() == "one\nfour\n"


def test_a_bar_of_progress_without_a_newline_is_seen_while_it_grows(tmp_path: Path, gate: Path) -> None:
    shell = f"printf '10 %%\\r20 %%\\r'; read x < {gate}; printf '100 %%\\n'; sleep 600"
    with daemon(tmp_path, toml=program("x", "/bin/sh", "-c", shell, ready_after=0)) as running:
        running.wait_for("x-1", "READY")
        wait_until(lambda: texts(running, "x-1") == ["20 %"])
        gate.write_text("go\n")
        wait_until(lambda: texts(running, "x-1") == ["20 %", "100 %"])


def test_a_clock_that_jumps_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    ahead_s = [0.0]
    loop = Loop()
    watch = ClockWatch(loop, now=lambda: clock.monotonic() + ahead_s[0], every_s=0.01)
    loop.run_once()
    assert watch.last is None

    ahead_s[0] = 3600.0
    loop.run_once()
    loop.close()

    assert "the clock was set forward by 3600 s" in caplog.text
    assert watch.last is not None
