"""The beat program as the supervisor starts it, over a broker file."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskd.base import exit_codes
from taskd.brokers.factory import connect
from taskd.config.daemon import LogConfig
from taskd.config.programs import WorkerConfig
from taskd.config.schedule import BeatConfig, BeatEntryConfig
from taskd.config.schema import Config
from taskd.config.stores import Stores
from taskd.protocol.status import Ready, Waiting
from tests.component.beat_process import Program, started
from tests.signal_windows import signal_at_the_end
from tests.waiting import wait_until

__all__ = ["started"]


def config_of(directory: Path, **entry: object) -> Config:
    options: dict[str, Any] = {"every": 0.05, "args": (1,), **entry}
    each = BeatEntryConfig(name="often", task="tasks.often", **options)
    return Config(broker=f"sqlite://{directory}/broker.db", beat=BeatConfig(schedule={"often": each}))


def waiting_messages(config: Config) -> int:
    broker = connect(config.broker, Stores())
    try:
        desk = broker.desk()
        return sum(queue.ready for queue in desk.queues())
    finally:
        broker.close()


def test_it_gets_ready_sends_and_ends_with_0_on_a_signal(tmp_path: Path, started: list[Program]) -> None:
    config = config_of(tmp_path)
    started.append(program := Program(config))
    wait_until(lambda: program.has_line(Ready))
    wait_until(lambda: waiting_messages(config) >= 3)

    program.process.send_signal(signal.SIGTERM)

    assert program.process.wait(60.0) == exit_codes.OK


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_every_stop_signal_stops_it(number: int, tmp_path: Path, started: list[Program]) -> None:
    started.append(program := Program(config_of(tmp_path)))
    wait_until(lambda: program.has_line(Ready))

    program.process.send_signal(number)

    assert program.process.wait(60.0) == exit_codes.OK


def test_a_signal_after_the_last_handler_does_not_change_the_exit_status(
    tmp_path: Path, started: list[Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_at_the_end(monkeypatch, tmp_path, "taskd.beat", signal.SIGTERM)
    started.append(program := Program(config_of(tmp_path)))
    wait_until(lambda: program.has_line(Ready))

    program.process.send_signal(signal.SIGTERM)

    assert program.process.wait(60.0) == exit_codes.OK


def test_changed_entries_are_taken_over_while_it_runs(tmp_path: Path, started: list[Program]) -> None:
    config = config_of(tmp_path, every=3600.0)
    started.append(program := Program(config))
    wait_until(lambda: program.has_line(Ready))

    program.tell(config_of(tmp_path))

    wait_until(lambda: waiting_messages(config) >= 3)
    assert program.process.poll() is None

    program.tell(replace(config, beat=replace(config.beat, schedule={}), log=LogConfig(level="debug")))
    number = waiting_messages(config)  # at most those that are sent before it looks
    assert program.process.stderr is not None
    wait_until(lambda: program.logged("changed entries=1", times=2))
    settled = waiting_messages(config)
    assert settled >= number
    assert not program.has_line(Waiting)
    assert waiting_messages(config) == settled, "what is gone from the file fires no more"


def test_a_changed_configuration_that_cannot_be_read_changes_nothing(
    tmp_path: Path, started: list[Program]
) -> None:
    config = config_of(tmp_path)
    started.append(program := Program(config))
    wait_until(lambda: program.has_line(Ready))

    program.handover.add_line(b"garbage")
    program.process.send_signal(signal.SIGHUP)

    wait_until(lambda: program.logged("changed settings were not taken over"))
    number = waiting_messages(config)
    wait_until(lambda: waiting_messages(config) > number)


def test_what_it_sends_can_be_claimed_as_a_task(tmp_path: Path, started: list[Program]) -> None:
    config = config_of(tmp_path)
    started.append(Program(config))
    broker = connect(config.broker, Stores())
    try:
        intake = broker.intake("test@host", ["default"])
        claimed = wait_until(lambda: intake.claim(1))
        assert b'"task":"tasks.often"' in claimed[0].headers
        assert claimed[0].body.startswith(b"[[1],{},")
    finally:
        broker.close()


def test_a_broker_that_cannot_be_opened_is_waited_for(tmp_path: Path, started: list[Program]) -> None:
    (tmp_path / "shut").write_text("in the way of a directory")
    config = config_of(tmp_path / "shut")
    started.append(program := Program(config))

    wait_until(lambda: program.has_line(Waiting))
    (tmp_path / "shut").unlink()
    (tmp_path / "shut").mkdir()

    wait_until(lambda: program.has_line(Ready), timeout_s=20.0)
    wait_until(lambda: waiting_messages(config) >= 1)


def test_a_wrong_entry_is_reported_and_the_rest_goes_on(tmp_path: Path, started: list[Program]) -> None:
    started.append(program := Program(config_of(tmp_path, every=None, cron="99 * * * *")))
    wait_until(lambda: program.has_line(Ready))

    program.process.send_signal(signal.SIGTERM)

    assert b"entry=often" in program.process.communicate(timeout=60.0)[1]


def test_it_ends_when_the_supervisor_has_gone_away(tmp_path: Path, started: list[Program]) -> None:
    started.append(program := Program(config_of(tmp_path)))
    wait_until(lambda: program.has_line(Ready))
    os.close(program.status_fd)
    program.status_fd = os.open(os.devnull, os.O_RDONLY)

    assert program.process.wait(60.0) == exit_codes.OK


def test_it_sends_what_the_code_of_a_workers_app_declares(tmp_path: Path, started: list[Program]) -> None:
    (tmp_path / "shop.py").write_text(
        "from taskd import App, every\n"
        "app = App(broker='memory://')\n"
        "app.add_periodic('pulse', 'shop.pulse', every(0.05), 'from code')\n"
    )
    config = Config(
        broker=f"sqlite://{tmp_path}/broker.db",
        app="shop:app",
        workers={"w": WorkerConfig(name="w", directory=str(tmp_path))},
        beat=BeatConfig(run="always"),
    )
    started.append(Program(config))
    broker = connect(config.broker, Stores())
    try:
        intake = broker.intake("test@host", ["default"])
        claimed = wait_until(lambda: intake.claim(1))
        assert b'"task":"shop.pulse"' in claimed[0].headers
        assert claimed[0].body.startswith(b'[["from code"],{},')
    finally:
        broker.close()
