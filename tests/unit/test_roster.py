"""Which programs a configuration wants, and the environment they get."""

from __future__ import annotations

import sys

import pytest

from taskd.config.programs import POOLS, WorkerConfig
from taskd.config.schedule import BeatConfig, BeatEntryConfig
from taskd.config.schema import Config
from taskd.supervisor.roster import ProgramSpec, roster
from taskd.supervisor.spawn import program_environment


def test_a_worker_with_two_processes_becomes_two_numbered_programs() -> None:
    config = Config(workers={"mail": WorkerConfig(name="mail", processes=2, directory="/srv")})

    programs = roster(config)

    assert [(program.name, program.group, program.directory) for program in programs] == [
        ("mail-1", "mail", "/srv"),
        ("mail-2", "mail", "/srv"),
    ]
    assert programs[0].command == (sys.executable, "-m", "taskd.worker", "mail-1")
    assert programs[0].environment["TASKD_WORKER"] == "mail"


def test_beat_runs_only_when_its_schedule_has_entries() -> None:
    entry = BeatEntryConfig(name="nightly", task="report", every=1.0)

    with_entries = roster(Config(beat=BeatConfig(schedule={"nightly": entry})))

    assert [program.name for program in with_entries] == ["beat"]
    assert with_entries[0].command == (sys.executable, "-m", "taskd.beat")
    assert roster(Config()) == ()


def test_a_program_does_not_inherit_what_systemd_told_the_supervisor() -> None:
    spec = ProgramSpec(name="mail-1", kind="worker", group="mail", command=("x",), environment={"A": "file"})
    base = {
        "NOTIFY_SOCKET": "/n",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "LISTEN_FDS": "1",
        "A": "b",
        "C": "d",
    }

    environment = program_environment(spec, base, config_path="/etc/t.toml", config_fd=7, status_fd=8)

    assert environment["A"] == "file"
    assert environment["C"] == "d"
    assert environment["TASKD_CONFIG"] == "/etc/t.toml"
    assert environment["TASKD_CONFIG_FD"] == "7"
    assert environment["TASKD_STATUS_FD"] == "8"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS"} & set(environment)


def test_only_a_solo_worker_may_fall_silent_while_it_works() -> None:
    workers = {pool: WorkerConfig(name=pool, app="shop.tasks", pool=pool) for pool in POOLS}

    specs = roster(Config(workers=workers))

    assert [spec.group for spec in specs if spec.is_silent] == ["solo"]


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_worker_that_must_be_patched_first_is_a_program_of_its_own(pool: str) -> None:
    config = Config(workers={"io": WorkerConfig(name="io", pool=pool)})

    assert roster(config)[0].command == (sys.executable, "-m", f"taskd.worker.{pool}_entry", "io-1")
