"""What the supervisor tells systemd, read from a notification socket of our own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.supervised import NotifySocket, daemon


@pytest.fixture
def notify(tmp_path: Path) -> Iterator[NotifySocket]:
    notify = NotifySocket(tmp_path)
    yield notify
    notify.close()


def test_ready_is_sent_only_after_every_program_is_ready(tmp_path: Path, notify: NotifySocket) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    environ = {"NOTIFY_SOCKET": notify.path, "FAKE_GATE": str(gate)}
    with daemon(tmp_path, environ, modes={"a": "good", "b": "after-the-gate"}) as running:
        running.wait_for("a-1", "READY")
        assert not [message for message in notify.pending() if message.startswith("READY")]

        gate.write_bytes(b"go")
        messages = notify.receive_until("READY=1")

        assert running.row("b-1")["state"] == "READY"
        assert ("STATUS=2 of 2 programs ready", running.pid) in messages


def test_stopping_is_sent_before_the_first_program_is_told(tmp_path: Path, notify: NotifySocket) -> None:
    environ = {"NOTIFY_SOCKET": notify.path, "FAKE_NOTIFY_SOCKET": notify.path}
    with daemon(tmp_path, environ, modes={"a": "good"}) as running:
        notify.receive_until("READY=1")

        running.signal(signal.SIGTERM)
        messages = notify.receive_until("FAKE=stop")

        assert "STOPPING=1" in [message for message, _ in messages]
        assert any(message.startswith("EXTEND_TIMEOUT_USEC=") for message, _ in messages)
        assert running.wait() == 0


def test_only_the_main_process_speaks_to_systemd(tmp_path: Path, notify: NotifySocket) -> None:
    with daemon(tmp_path, {"NOTIFY_SOCKET": notify.path}, modes={"a": "good"}) as running:
        messages = notify.receive_until("READY=1")
        running.signal(signal.SIGTERM)
        messages += notify.receive_until("STOPPING=1")

        assert {pid for _, pid in messages} == {running.pid}


def test_the_watchdog_is_answered_in_time(tmp_path: Path, notify: NotifySocket) -> None:
    environ = {"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "1000000"}
    with daemon(tmp_path, environ, modes={"a": "good"}):
        notify.receive_until("WATCHDOG=1")

        def comes_in_time() -> bool:
            before = time.monotonic()
            notify.receive_until("WATCHDOG=1")
            return time.monotonic() - before < 1.0

        assert any(comes_in_time() for _ in range(10))  # the others may have been held up by a busy machine


def test_nothing_is_sent_when_the_environment_is_for_another_process(
    tmp_path: Path, notify: NotifySocket
) -> None:
    environ = {"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    with daemon(tmp_path, environ, modes={"a": "good"}) as running:
        running.wait_for("a-1", "READY")
        running.stop()

        assert notify.pending() == []


def test_a_program_that_dies_shows_in_the_status_text_and_holds_back_ready(
    tmp_path: Path, notify: NotifySocket
) -> None:
    with daemon(tmp_path, {"NOTIFY_SOCKET": notify.path}, modes={"a": "good", "b": "dies"}) as running:
        messages = notify.receive_until("STATUS=1 of 2 programs ready; b-1 BACKOFF")

        assert "no module named shop" in messages[-1][0]
        assert running.row("a-1")["state"] == "READY"
        assert "READY=1" not in [message for message, _ in messages]
