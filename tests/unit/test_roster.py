"""Which programs a configuration wants, and the environment they get."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskd.config import transfer
from taskd.config.built_in import POOLS
from taskd.config.programs import WorkerConfig
from taskd.config.schedule import BeatConfig, BeatEntryConfig
from taskd.config.schema import Config
from taskd.host.safe_python import module_command
from taskd.supervisor.model.roster import ProgramSpec, groups, handed_to, member, share_of
from taskd.supervisor.process.spawn import inherits, program_environment


def test_a_worker_with_two_processes_becomes_two_numbered_programs() -> None:
    config = Config(workers={"mail": WorkerConfig(name="mail", processes=2, directory="/srv")})

    programs = [
        member(config, group, slot)
        for group, bounds in groups(config).items()
        for slot in range(1, bounds.count + 1)
    ]

    assert [(program.name, program.group, program.process.directory) for program in programs] == [
        ("mail-1", "mail", "/srv"),
        ("mail-2", "mail", "/srv"),
    ]
    assert programs[0].command == module_command("taskd.worker", "mail-1")
    assert programs[0].environment["TASKD_WORKER"] == "mail"


def test_beat_runs_only_when_its_schedule_has_entries() -> None:
    entry = BeatEntryConfig(name="nightly", task="report", every=1.0)

    config = Config(beat=BeatConfig(schedule={"nightly": entry}))

    assert list(groups(config)) == ["beat"]
    assert member(config, "beat", 1).name == "beat"
    assert member(config, "beat", 1).command == module_command("taskd.beat")
    assert not groups(Config())


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

    kept = inherits(base, other_user=False)
    environment = program_environment(spec, kept, config_path="/etc/t.toml", config_fd=7, status_fd=8)

    assert environment["A"] == "file"
    assert environment["C"] == "d"
    assert environment["TASKD_CONFIG"] == "/etc/t.toml"
    assert environment["TASKD_CONFIG_FD"] == "7"
    assert environment["TASKD_STATUS_FD"] == "8"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS"} & set(environment)


def test_only_a_solo_worker_may_fall_silent_while_it_works() -> None:
    workers = {pool: WorkerConfig(name=pool, app="shop.tasks", pool=pool) for pool in POOLS}

    specs = [member(Config(workers=workers), pool, 1) for pool in POOLS]

    assert [spec.group for spec in specs if spec.is_silent] == ["solo"]


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_worker_that_must_be_patched_first_is_a_program_of_its_own(pool: str) -> None:
    config = Config(workers={"io": WorkerConfig(name="io", pool=pool)})

    assert member(config, "io", 1).command == module_command(f"taskd.worker.{pool}_entry", "io-1")


def test_beat_and_solo_workers_are_replaced_in_their_place_others_beside_themselves() -> None:
    entry = BeatEntryConfig(name="nightly", task="report", every=1.0)
    workers = {pool: WorkerConfig(name=pool, pool=pool) for pool in ("solo", "prefork")}

    bounds = groups(Config(workers=workers, beat=BeatConfig(schedule={"nightly": entry})))

    assert {name: (each.max_surge, each.max_unavailable) for name, each in bounds.items()} == {
        "solo": (0, 1),
        "prefork": (1, 0),
        "beat": (0, 1),
    }


def test_a_group_depends_on_its_own_table_and_on_what_all_have_in_common() -> None:
    workers = {"a": WorkerConfig(name="a", app="own:app"), "b": WorkerConfig(name="b")}
    config = Config(app="shop:app", workers=workers)

    assert share_of(config, "a") == share_of(replace(config, app="other:app"), "a")
    assert share_of(config, "b") != share_of(replace(config, app="other:app"), "b")
    assert share_of(config, "a") != share_of(replace(config, broker="sqlite:///x"), "a")


def test_a_program_of_another_user_gets_only_what_holds_no_secret() -> None:
    base = {"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": "/srv", "BROKER_PASSWORD": "secret", "HOME": "/root"}

    assert inherits(base, other_user=True) == {"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": "/srv"}
    assert inherits(base, other_user=False) == base


def test_a_program_is_told_nothing_of_the_tables_of_others() -> None:
    entry = BeatEntryConfig(name="nightly", task="report", every=1.0)
    config = Config(
        app="shop:app",
        workers={
            name: WorkerConfig(name=name, user=name, environment={"TOKEN": f"secret of {name}"})
            for name in ("mail", "shop")
        },
        beat=BeatConfig(user="shop", schedule={"nightly": entry}, environment={"TOKEN": "secret of beat"}),
    )

    told = {group: transfer.encode(handed_to(config, group)).decode() for group in ("mail", "shop", "beat")}

    known = {
        group: {each for each in ("mail", "shop", "beat") if f"secret of {each}" in text}
        for group, text in told.items()
    }
    assert known == {"mail": {"mail"}, "shop": {"shop"}, "beat": {"shop", "beat"}}


def test_where_others_have_users_of_their_own_nothing_of_taskds_is_root_without_being_told() -> None:
    entry = BeatEntryConfig(name="nightly", task="report", every=1.0)
    workers = {"mail": WorkerConfig(name="mail", user="mailer"), "io": WorkerConfig(name="io")}
    config = Config(workers=workers, beat=BeatConfig(schedule={"nightly": entry}))

    assert [member(config, group, 1).needs_user for group in ("mail", "io", "beat")] == [False, True, True]
    assert member(config, "beat", 1, default_user="taskd").process.user == "taskd"
    assert member(config, "mail", 1, default_user="taskd").process.user == "mailer"
    assert not member(replace(config, workers={"io": workers["io"]}), "io", 1).needs_user
