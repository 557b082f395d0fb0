"""Programs wait for one another at the start and at the end, and READY waits for what can still come."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.component.program_tables import program
from tests.component.supervised import NotifySocket, daemon
from tests.waiting import wait_until

READY = 'echo \'{"type": "ready"}\' >&$TASKD_STATUS_FD'


@pytest.mark.parametrize("key", ["after", "requires"])
def test_a_program_is_started_only_when_the_one_before_it_is_ready(tmp_path: Path, key: str) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    # In the file the one that waits stands first.
    tables = program("last", "/bin/sleep", "600", ready_after=0, **{key: ["first"]}) + program(
        "first", "/bin/bash", "-c", f"read < {gate}; {READY}; exec sleep 600", ready="reported"
    )
    with daemon(tmp_path, toml=tables) as running:
        running.wait_for("first-1", "STARTING")
        row = wait_until(lambda: "first-1" in (row := running.row("last-1"))["reason"] and row)
        assert (row["state"], row["pid"]) == ("DOWN", None)

        gate.write_text("go\n")

        running.wait_for("last-1", "READY")
        running.wait_for("first-1", "READY")


def test_after_goes_on_without_one_that_has_failed_and_requires_does_not(tmp_path: Path) -> None:
    tables = (
        program("bad", "/bin/false", restart_intensity=1, restart_delay=0.01)
        + program("patient", "/bin/sleep", "600", ready_after=0, requires=["bad"])
        + program("other", "/bin/sleep", "600", ready_after=0, after=["bad"])
    )
    with daemon(tmp_path, toml=tables) as running:
        running.wait_for("bad-1", "FAILED")

        running.wait_for("other-1", "READY")
        row = running.row("patient-1")
        assert row["state"] == "DOWN"
        assert row["reason"] == "waits for bad-1, which it requires (FAILED)"


def test_after_goes_on_when_the_start_timeout_of_the_one_before_it_is_over(tmp_path: Path) -> None:
    tables = program("slow", "/bin/sleep", "600", ready="reported", start_timeout=0.5) + program(
        "other", "/bin/sleep", "600", ready_after=0, after=["slow"]
    )
    with daemon(tmp_path, toml=tables, restart_intensity=1000) as running:
        running.wait_for("other-1", "READY")


def test_what_requires_a_job_starts_when_the_job_is_done(tmp_path: Path) -> None:
    done = tmp_path / "done"
    tables = program(
        "migrate", "/bin/sh", "-c", f": > {done}", restart="on-failure", ready_after=60
    ) + program(
        "web", "/bin/sh", "-c", f"test -e {done} && exec sleep 600", ready_after=0, requires=["migrate"]
    )
    with daemon(tmp_path, toml=tables) as running:
        assert running.wait_for("web-1", "READY")["restarts"] == 0


def test_programs_are_stopped_in_the_reverse_order(tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    shell = f"trap 'echo $TASKD_NAME >> {ends}; exit 0' TERM; {READY}; while :; do sleep 0.05; done"

    def table(name: str, **keys: object) -> str:
        return program(
            name, "/bin/bash", "-c", shell, ready="reported", environment={"TASKD_NAME": name}, **keys
        )

    with daemon(tmp_path, toml=table("a") + table("b", after=["a"]) + table("c", requires=["b"])) as running:
        running.wait_for("c-1", "READY")

        assert running.stop() == 0

    assert ends.read_text().split() == ["c", "b", "a"]


def test_a_lower_order_is_started_first(tmp_path: Path) -> None:
    tables = "".join(
        program(name, "/bin/sleep", "600", order=order) for name, order in (("a", 5), ("b", 0), ("c", -1))
    )
    with daemon(tmp_path, toml=tables) as running:
        running.wait_for("a-1", "READY")
        rows = running.call("status")["programs"]

        assert [row["name"] for row in rows] == ["c-1", "b-1", "a-1"]
        assert [row["pid"] for row in rows] == sorted(row["pid"] for row in rows)


def test_one_broken_program_holds_ready_up_no_longer_than_until_it_has_failed(tmp_path: Path) -> None:
    notify = NotifySocket(tmp_path)
    tables = program("good", "/bin/sleep", "600", ready_after=0) + program(
        "bad", "/bin/false", restart_intensity=1, restart_delay=0.01
    )
    try:
        with daemon(tmp_path, {"NOTIFY_SOCKET": notify.path}, toml=tables) as running:
            messages = [text for text, _ in notify.receive_until("READY=1")]
            assert running.row("bad-1")["state"] == "FAILED"
    finally:
        notify.close()

    assert messages[-2].startswith("STATUS=1 of 2 programs ready; bad-1 FAILED: died too often"), messages


def test_one_program_that_never_becomes_ready_holds_ready_up_for_its_start_timeout(tmp_path: Path) -> None:
    notify = NotifySocket(tmp_path)
    tables = program("good", "/bin/sleep", "600", ready_after=0) + program(
        "bad", "/bin/sleep", "600", ready="reported", start_timeout=0.5, stop_timeout=0
    )
    try:
        with daemon(tmp_path, {"NOTIFY_SOCKET": notify.path}, toml=tables, restart_delay=30.0) as running:
            notify.receive_until("READY=1")
            assert running.row("good-1")["state"] == "READY"
    finally:
        notify.close()


def test_where_nothing_works_nothing_is_ready(tmp_path: Path) -> None:
    notify = NotifySocket(tmp_path)
    try:
        table = program("bad", "/bin/false", restart_intensity=1, restart_delay=0.01)
        with daemon(tmp_path, {"NOTIFY_SOCKET": notify.path}, toml=table) as running:
            running.wait_for("bad-1", "FAILED")
            assert running.stop() == 0
            assert not any(message.startswith("READY") for message in notify.pending())
    finally:
        notify.close()
