"""The files that a daemon makes; no two keys may name the same one.  Pure.

A control socket at the path of the broker's file would be the end of the messages in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from taskd.base.schemes import file_of
from taskd.config.programs import ProgramConfig, WorkerConfig
from taskd.config.provenance import KeyPath
from taskd.config.report import ProblemReport
from taskd.config.schema import Config

_SOCKET: KeyPath = ("supervisor", "control_socket")
#: Beside the control socket, beside a database, and in the state directory.
_BESIDE_SOCKET = ("", ".lock", ".state", ".state.new")
_BESIDE_DATABASE = ("", "-wal", "-shm", "-journal", ".wake", ".revoked", ".lock")
_STATES = ("deaths.json", "deaths.json.new", "deaths.json.corrupt")


def check_places(config: Config, report: ProblemReport) -> None:
    """Note each key whose file is that of another key; only databases may share one."""
    taken: dict[str, tuple[str, KeyPath]] = {}
    for kind, path, key in _places(config):
        former_kind, former = taken.setdefault(path, (kind, key))
        if kind != former_kind and report.is_sound(key) and report.is_sound(former):
            report.error(key, f"{path} is taken by {'.'.join(former)} already", "a path of its own")


def _places(config: Config) -> Iterator[tuple[str, str, KeyPath]]:
    """Yield the kind, the absolute path and the key of each file; the socket last, for it yields."""
    if config.path:
        yield "the configuration", os.path.abspath(config.path), ()
    keys: tuple[tuple[KeyPath, str], ...] = (
        (("broker",), config.broker),
        (("results",), config.results),
        (("beat", "store"), config.beat.store),
    )
    for key, url in keys:
        if path := file_of(url):
            for suffix in _BESIDE_DATABASE:
                yield "database", _normal(path) + suffix, key
    for name in _STATES:
        path = _normal(os.path.join(config.supervisor.state_directory, name))
        yield "state", path, ("supervisor", "state_directory")
    if config.log.directory:
        for name in (*_programs(config), "taskd"):
            yield "log", _normal(os.path.join(config.log.directory, f"{name}.log")), ("log", "directory")
    if socket := config.supervisor.control_socket:
        for suffix in _BESIDE_SOCKET:
            yield "socket", _normal(socket) + suffix, _SOCKET


def _normal(path: str) -> str:
    return "/" + os.path.normpath(path).lstrip("/")


def _programs(config: Config) -> Iterator[str]:
    tables: list[tuple[str, WorkerConfig | ProgramConfig]] = [
        *config.workers.items(),
        *config.programs.items(),
    ]
    return (f"{name}-{slot}" for name, table in tables for slot in range(1, table.processes + 1))
