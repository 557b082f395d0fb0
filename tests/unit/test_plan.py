"""What a reload would do to each program is decided from two configurations and what runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from taskd.config.daemon import LogConfig, SupervisorConfig
from taskd.config.programs import ProgramConfig, WorkerConfig
from taskd.config.schedule import BeatConfig, BeatEntryConfig
from taskd.config.schema import Config
from taskd.supervisor.model.plan import Action, ReloadPlan, RunningProgram, plan
from taskd.supervisor.model.roster import groups, program_name


def config(*workers: WorkerConfig, **keys: Any) -> Config:
    return Config(app="shop:app", workers={each.name: each for each in workers}, **keys)


def running(present: Config) -> list[RunningProgram]:
    """All programs of a configuration, the one with the highest number the least missed."""
    return [
        RunningProgram(program_name(group, slot), group, slot, present)
        for group, bounds in groups(present).items()
        for slot in range(bounds.count, 0, -1)
    ]


def decided(old: Config, new: Config, members: Sequence[RunningProgram] | None = None) -> dict[str, Action]:
    made = plan(running(old) if members is None else members, old, new)
    return {each.program: each.action for each in made.decisions}


def why(made: ReloadPlan, program: str) -> tuple[str, ...]:
    return next(each.why for each in made.decisions if each.program == program)


MAIL = WorkerConfig(name="mail", processes=2)
WEB = WorkerConfig(name="web", pool="threads")


def test_what_has_not_changed_is_kept() -> None:
    assert set(decided(config(MAIL, WEB), config(MAIL, WEB)).values()) == {Action.KEEP}


def test_a_changed_worker_rolls_and_its_neighbours_stay() -> None:
    new = config(replace(MAIL, concurrency=9), WEB)

    made = plan(running(config(MAIL, WEB)), config(MAIL, WEB), new)

    assert decided(config(MAIL, WEB), new) == {
        "mail-1": Action.ROLL,
        "mail-2": Action.ROLL,
        "web-1": Action.KEEP,
    }
    assert why(made, "mail-1") == ("worker.mail.concurrency: 0 -> 9",)
    assert made.concerned() == {"mail"}


def test_more_processes_are_added_in_free_slots_and_fewer_drain_the_least_missed() -> None:
    old = config(MAIL)
    busy_last = [
        RunningProgram("mail-1", "mail", 1, old),
        RunningProgram("mail-4", "mail", 4, old),
        RunningProgram("mail-2", "mail", 2, old),
    ]

    assert decided(old, config(replace(MAIL, processes=4)), busy_last)["mail-3"] is Action.ADD
    assert decided(old, config(replace(MAIL, processes=1)), busy_last) == {
        "mail-1": Action.DRAIN,
        "mail-2": Action.KEEP,
        "mail-4": Action.DRAIN,
    }


def test_a_worker_that_is_new_or_gone_is_added_or_drained_with_the_reason() -> None:
    made = plan(running(config(MAIL)), config(MAIL), config(WEB))

    assert [(each.program, each.action) for each in made.decisions] == [
        ("web-1", Action.ADD),
        ("mail-2", Action.DRAIN),
        ("mail-1", Action.DRAIN),
    ]
    assert why(made, "web-1") == ("[worker.web] is new",)
    assert why(made, "mail-1") == ("[worker.mail] is gone from the file",)


def test_another_command_that_changes_is_replaced_and_its_table_is_named() -> None:
    def commanded(*command: str) -> Config:
        programs = {"exporter": ProgramConfig(name="exporter", command=command)}
        return Config(app="shop:app", programs=programs)

    made = plan([], Config(app="shop:app"), commanded("/bin/a"))

    assert why(made, "exporter-1") == ("[program.exporter] is new",)
    assert decided(commanded("/bin/a"), commanded("/bin/b")) == {"exporter-1": Action.ROLL}


def test_what_the_supervisor_alone_does_is_applied_live() -> None:
    new = config(MAIL, WEB, supervisor=SupervisorConfig(stop_timeout=9.0))

    assert set(decided(config(MAIL, WEB), new).values()) == {Action.LIVE}


def test_a_log_level_is_live_everywhere() -> None:
    beat = BeatConfig(run="always")
    new = config(MAIL, WEB, log=LogConfig(level="debug"), beat=beat)

    assert set(decided(config(MAIL, WEB, beat=beat), new).values()) == {Action.LIVE}


def test_the_app_of_all_workers_does_not_concern_one_that_has_its_own() -> None:
    own = replace(WEB, app="own:app")

    assert decided(config(MAIL, own), replace(config(MAIL, own), app="other:app")) == {
        "mail-1": Action.ROLL,
        "mail-2": Action.ROLL,
        "web-1": Action.KEEP,
    }


def test_a_changed_schedule_is_live_and_concerns_beat_alone() -> None:
    def scheduled(every: float) -> Config:
        entry = BeatEntryConfig(name="nightly", task="report", every=every)
        return config(WEB, beat=BeatConfig(schedule={"nightly": entry}))

    assert decided(scheduled(5.0), scheduled(6.0)) == {"web-1": Action.KEEP, "beat": Action.LIVE}


def test_each_program_is_judged_by_the_configuration_that_it_was_made_from() -> None:
    """In the middle of a roll: who has the new configuration already stays, and a way back is a roll."""
    old, new = config(MAIL), config(replace(MAIL, concurrency=9))
    mixed = [RunningProgram("mail-1", "mail", 1, old), RunningProgram("mail-3", "mail", 3, new)]

    assert decided(new, new, mixed) == {"mail-1": Action.ROLL, "mail-3": Action.KEEP}
    assert decided(new, old, mixed) == {"mail-1": Action.KEEP, "mail-3": Action.ROLL}


def test_a_program_that_is_being_replaced_anyhow_rolls() -> None:
    stale = [RunningProgram("web-1", "web", 1, config(WEB), is_stale=True)]

    assert decided(config(WEB), config(WEB), stale) == {"web-1": Action.ROLL}


def test_what_only_a_restart_of_taskd_changes_is_named_and_concerns_no_program() -> None:
    new = config(WEB, supervisor=SupervisorConfig(control_socket="/other"))

    made = plan(running(config(WEB)), config(WEB), new)

    assert [change.key for change in made.needs_restart] == ["supervisor.control_socket"]
    assert {each.action for each in made.decisions} == {Action.KEEP}
