"""Rules over several keys of the tables of processes, among them their dependencies on one another.

Pure: whether users, files and commands exist on this machine is the business of ``machine``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from taskd.base.plural import counted
from taskd.config.process import HOOKS, ProcessConfig
from taskd.config.programs import ProgramConfig, WorkerConfig
from taskd.config.provenance import KeyPath
from taskd.config.report import ProblemReport
from taskd.config.schedule import BeatConfig
from taskd.config.schema import Config

BEAT = "beat"

P = TypeVar("P", WorkerConfig, ProgramConfig, BeatConfig)


def process_tables(config: Config) -> Iterator[tuple[str, KeyPath, ProcessConfig]]:
    """Yield each table that describes processes: its name, its place in the file, and itself.

    ``[beat]`` is among them only if it runs.
    """
    for name, worker in config.workers.items():
        yield name, ("worker", name), worker
    for name, program in config.programs.items():
        yield name, ("program", name), program
    if config.beat.runs:
        yield BEAT, ("beat",), config.beat


def with_absolute_process_paths(table: P, directory: str) -> P:
    """Return the table with its relative paths taken from the directory of the file."""

    def absolute(path: str) -> str:
        return os.path.normpath(os.path.join(directory, path)) if path else ""

    table = replace(table, directory=absolute(table.directory), env_file=absolute(table.env_file))
    if not isinstance(table, ProgramConfig):
        return replace(table, interpreter=absolute(table.interpreter))
    if table.command and "/" in table.command[0]:
        return replace(table, command=(absolute(table.command[0]), *table.command[1:]))
    return table


def check_processes(config: Config, report: ProblemReport) -> None:
    """Note what is wrong with the tables of processes, one by one and among one another."""
    names = {name for name, _, _ in process_tables(config)}
    for _, path, table in process_tables(config):
        _check_process(table, path, config, report)
        _check_dependencies(table, path, names, report)
    if all(report.is_sound(path) for _, path, _ in process_tables(config)):
        _check_cycles(config, report)


def _check_process(table: ProcessConfig, path: KeyPath, config: Config, report: ProblemReport) -> None:
    if not table.user and (table.groups or table.group):
        report.error(path, "a group is given without a user", 'user = "NAME" beside it')
    for hook in HOOKS:
        command = getattr(table, hook)
        if command and not command[0]:
            report.error((*path, hook), "the command is empty", 'a list such as ["/usr/bin/logger", "text"]')
    is_empty = isinstance(table, ProgramConfig) and not (table.command and table.command[0])
    if is_empty and report.is_sound((*path, "command")):
        expected = 'a list such as ["/usr/bin/redis-exporter", "--verbose"]'
        report.error((*path, "command"), "the command is empty", expected)
    first = config.supervisor.restart_delay if table.restart_delay is None else table.restart_delay
    longest = (
        config.supervisor.restart_delay_max if table.restart_delay_max is None else table.restart_delay_max
    )
    # Where only [supervisor] has them, the fault is noted there.
    if longest < first and not (table.restart_delay is None and table.restart_delay_max is None):
        expected = f"restart_delay_max of at least restart_delay, {counted(first, 'second')}"
        report.error(path, "the longest delay is shorter than the first", expected)


def _check_dependencies(table: ProcessConfig, path: KeyPath, names: set[str], report: ProblemReport) -> None:
    for key in ("after", "requires"):
        for name in getattr(table, key):
            if name not in names:
                expected = "one of " + ", ".join(sorted(names - {path[-1]})) if len(names) > 1 else ""
                # Not quoted as it stands: the text may have come from a variable.
                report.error(
                    (*path, key),
                    f'there is no worker or program "{name}" to wait for',
                    expected,
                    word=name,
                    known=names,
                )


def dependencies(config: Config) -> Mapping[str, tuple[str, ...]]:
    """Return for each table of processes the names of the tables that it waits for."""
    return {name: tuple({*table.after, *table.requires}) for name, _, table in process_tables(config)}


def _check_cycles(config: Config, report: ProblemReport) -> None:
    """Refuse tables that wait for one another: none of them would ever start."""
    waits_for = dependencies(config)
    done: set[str] = set()
    for start, path, _ in process_tables(config):
        circle = _circle_from(start, waits_for, done)
        if circle:
            wrong = "waits for itself: " + " -> ".join(circle)
            report.error(path, wrong, "after and requires that form no circle")
            return


def _circle_from(start: str, waits_for: Mapping[str, tuple[str, ...]], done: set[str]) -> list[str]:
    """Return the names of a circle that can be reached from ``start``, the first one again at its end.

    Iterative: a long chain of tables must not end in a RecursionError.
    """
    way: list[str] = []
    stack: list[tuple[str, Iterator[str]]] = []

    def enter(name: str) -> None:
        way.append(name)
        stack.append((name, iter(sorted(waits_for.get(name, ())))))

    if start not in done:
        enter(start)
    while stack:
        name, rest = stack[-1]
        following = next(rest, None)
        if following is None:
            stack.pop()
            way.pop()
            done.add(name)
        elif following in way:
            return [*way[way.index(following) :], following]
        elif following not in done:
            enter(following)
    return []
