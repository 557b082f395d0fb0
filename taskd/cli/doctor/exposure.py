"""Learns what ``security`` judges.  Judges nothing, and changes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

from taskd.base.schemes import Form, scheme_of
from taskd.base.urls import credentials_of, shown
from taskd.cli.doctor.facts import FilePlace, MachineFacts, Who
from taskd.cli.doctor.machine import place
from taskd.cli.doctor.security import ExposureFacts, ProgramFacts, ServerFacts
from taskd.config.machine import group_of, user_of
from taskd.config.process import ProcessConfig
from taskd.config.process_forms import UNLIMITED
from taskd.config.process_rules import process_tables
from taskd.config.programs import ProgramConfig, WorkerConfig
from taskd.config.schema import Config

_HERE = ("localhost", "127.", "[::1]", "/", "")
_TASKD_USER = "TASKD_USER="


def expose(config: Config, facts: MachineFacts) -> ExposureFacts:
    """Return the facts of one configuration on this machine; ``facts`` are those of the plain checks."""
    default = _default_user(facts)
    return ExposureFacts(
        daemon=facts.who,
        config=facts.config.file,
        programs=[
            _program(".".join(path), table, facts.who, default, facts.unit.properties)
            for _, path, table in process_tables(config)
        ],
        servers=[server for key in ("broker", "results") if (server := _server(key, getattr(config, key)))],
        files=list(_databases(facts)),
        accept_content=config.accept_content,
        remote_control=config.security.remote_control,
        socket_mode=int(config.control.socket_mode, 8),
        unit=facts.unit.properties,
    )


def _default_user(facts: MachineFacts) -> str:
    """Return the TASKD_USER of the unit, which counts where that runs as root; else an empty text."""
    words = facts.unit.properties.get("Environment", "").split()
    found = next((word[len(_TASKD_USER) :] for word in words if word.startswith(_TASKD_USER)), "")
    return found if facts.who.uid == 0 else ""


def _program(
    name: str, table: ProcessConfig, daemon: Who, default: str, unit: Mapping[str, str]
) -> ProgramFacts:
    user = table.user or default
    chosen = [soft for key, (soft, _) in table.limits.items() if key in {"data", "as"}]
    # Without a choice a worker is bounded by default.
    is_bounded = any(soft != UNLIMITED for soft in chosen) if chosen else isinstance(table, WorkerConfig)
    return ProgramFacts(
        name,
        _who(user, table) if user else daemon,
        code=[] if isinstance(table, ProgramConfig) else list(_code(table, unit)),
        env_file=place(table.env_file) if table.env_file else None,
        is_memory_bounded=is_bounded,
    )


def _who(user: str, table: ProcessConfig) -> Who:
    """Return a user by name or number, with the groups of its table, else those of the group database."""
    try:
        entry = user_of(user)
        first = group_of(table.group) if table.group else entry.pw_gid
        groups = map(group_of, table.groups) if table.groups else os.getgrouplist(entry.pw_name, first)
        return Who(entry.pw_name, entry.pw_uid, frozenset({first, *groups}))
    except KeyError:
        return Who(user, None)


def _code(table: ProcessConfig, unit: Mapping[str, str]) -> Iterator[FilePlace]:
    """Yield the directories from which a worker or beat imports: its own, PYTHONPATH, and this Python's."""
    paths = [table.directory or unit.get("WorkingDirectory", "")]
    paths += table.environment.get("PYTHONPATH", os.environ.get("PYTHONPATH", "")).split(os.pathsep)
    paths += [path for path in sys.path if path and os.path.isdir(path)]
    for path in dict.fromkeys(filter(None, paths)):
        found = place(path)
        if found.mode is not None:
            yield found


def _server(key: str, url: str) -> ServerFacts | None:
    how = scheme_of(url)
    rest = url.partition("://")[2]
    is_socket = how.form is Form.SOCKET
    if not is_socket and not how.port:
        return None  # a file, a word, or a server that taskd does not know
    host = rest.rpartition("@")[2]
    is_here = is_socket or any(host.startswith(each) if each else not host for each in _HERE)
    has_password = any(credentials_of(url))
    return ServerFacts(key, shown(url), is_here, how.encrypted or "ssl" in rest, has_password)


def _databases(facts: MachineFacts) -> Iterator[FilePlace]:
    for store in facts.stores:
        if store.file is not None and store.directory is not None and (store.directory.mode or 0) & 0o001:
            for suffix in ("", "-wal", "-shm"):
                found = place(store.file.path + suffix)
                if found.mode is not None:
                    yield found
