"""Learns the facts of this machine.  Judges nothing, and changes nothing."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import re
import resource
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace

from taskd.base import clock
from taskd.base.errors import BackendError, ControlError, DaemonDownError
from taskd.base.schemes import file_of
from taskd.base.urls import credentials_of, servers_of
from taskd.base.version import __version__
from taskd.cli import daemon
from taskd.cli.desk import left_alone, open_desk
from taskd.cli.doctor.facts import (
    ClockFacts,
    ConfigFacts,
    DaemonFacts,
    FilePlace,
    KernelFacts,
    MachineFacts,
    StoreFacts,
    UnitFacts,
    Who,
)
from taskd.cli.doctor.reach import executed_by, unreachable
from taskd.cli.former import former_brokers, measured
from taskd.cli.troubles import troubles_of
from taskd.config.beat_store import beat_store_url
from taskd.config.load import check
from taskd.config.problems import ProblemSeverity
from taskd.config.schema import Config
from taskd.config.secret_variables import is_secret_variable
from taskd.storage.sqlite.log import garbage_bytes
from taskd.supervisor.control.client import ControlClient
from taskd.supervisor.control.peers import unknown_names

_CONNECT_S = 3.0
# adjtimex(2): what it returns while the clock is not synchronized.
_TIME_ERROR = 5
_TIMEX_BYTES = 512
_PR_GET_CHILD_SUBREAPER = 37
_OWN_USER_NAMESPACE = ["0", "0", "4294967295"]


def gather(config_path: str, control_socket: str | None, unit: UnitFacts) -> MachineFacts:
    """Return all facts; ``control_socket`` overrides the one of the configuration."""
    config, problems = check(config_path)
    errors = [str(problem) for problem in problems if problem.severity is ProblemSeverity.ERROR]
    warnings = [str(problem) for problem in problems if problem.severity is ProblemSeverity.WARNING]
    if config is not None:  # warnings of the machine depend on who asks, and errors do not
        lacks = check(config_path, machine=True)[1]
        errors = [str(problem) for problem in lacks if problem.severity is ProblemSeverity.ERROR]
    file = place(config_path)
    known = config or Config()
    stores = [store for key, url in _urls(known) if (store := _store(key, url))]
    socket_path = control_socket or known.supervisor.control_socket
    running = _daemon(socket_path)
    if config is not None:
        stores = [_with_queues(config, store) for store in stores]
    who = _who(unit, running)
    newest = [file, running.socket, *(store.file for store in stores if store.file)]
    return MachineFacts(
        who=who,
        config=ConfigFacts(
            file=file,
            errors=errors,
            warnings=warnings,
            secrets=list(_secrets(known, config_path)),
            unknown_names=unknown_names(_members(known)),
            gives_roles=bool(_members(known)),
            directories={
                f"worker.{name}.directory": place(worker.directory)
                for name, worker in known.workers.items()
                if worker.directory
            },
        ),
        daemon=running,
        stores=stores if config is not None else [],
        clock=ClockFacts(clock.now(), _is_synchronized(), max(each.modified_at for each in newest)),
        kernel=_kernel(),
        unit=replace(unit, unreachable=list(_unreachable(unit, who))),
    )


def _urls(config: Config) -> Iterator[tuple[str, str]]:
    """Yield key and URL of each store; of beat's where it has a place of its own."""
    yield "broker", config.broker
    yield "results", config.results
    url = beat_store_url(config)
    beside = {os.path.dirname(file_of(each)) for each in (config.broker, config.results)}
    is_told_of = url in {config.broker, config.results} or os.path.dirname(file_of(url)) in beside - {""}
    if config.beat.runs and not is_told_of:
        yield "beat.store", url


def _unreachable(unit: UnitFacts, who: Who) -> Iterator[str]:
    """Say why the user of a unit cannot execute what it starts."""
    command = re.search(r"path=(\S+)", unit.properties.get("ExecStart", ""))
    if command is not None:
        yield from unreachable(executed_by(command[1]), who, unit.properties, place)


def place(path: str) -> FilePlace:
    """Return what is at a path."""
    try:
        status = os.stat(path)
    except OSError:
        return FilePlace(path)
    return FilePlace(path, status.st_mode, status.st_uid, status.st_gid, status.st_mtime, status.st_size > 0)


def filesystem_of(path: str, mountinfo: str) -> str:
    """Return the type of the file system of an absolute path, by the text of proc_pid_mountinfo(5)."""
    best = ""
    kind = ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        mount = fields[4].replace("\\040", " ")
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):  # of two on one point the later hides the earlier
            best = mount
            kind = right.split()[0]
    return kind


def _members(config: Config) -> Sequence[str]:
    return [*config.control.viewers, *config.control.operators, *config.control.admins]


def _secrets(config: Config, path: str) -> Iterator[str]:
    """Yield the keys whose secrets stand in the file itself, and not in a variable."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return
    for key in ("broker", "results"):
        if any(password in text for password in credentials_of(getattr(config, key))):
            yield key
    for name, worker in config.workers.items():
        variables = worker.environment.items()
        if any(is_secret_variable(each, value) and value in text for each, value in variables):
            yield f"worker.{name}.environment"


def _who(unit: UnitFacts, running: DaemonFacts) -> Who:
    """Return the user of the running daemon, else that of the unit, else the one who asks."""
    name = unit.properties.get("User", "") if unit.properties.get("LoadState") == "loaded" else ""
    uid = running.socket.uid if running.socket.mode is not None and not running.is_down else None
    try:
        if uid is not None or not name:
            entry = pwd.getpwuid(os.geteuid() if uid is None else uid)
        else:
            entry = pwd.getpwnam(name)
    except KeyError:
        return Who(name or str(uid), uid)
    groups = {group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem}
    return Who(entry.pw_name, entry.pw_uid, frozenset({entry.pw_gid, *groups}))


def _daemon(socket_path: str) -> DaemonFacts:
    at = place(socket_path)
    directory = place(os.path.dirname(os.path.abspath(socket_path)))
    own_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        status = daemon.fetch_status(ControlClient(socket_path))
    except ControlError as error:
        down = isinstance(error, DaemonDownError)
        return DaemonFacts(
            at, directory, str(error), is_down=down, own_version=__version__, max_open_files=own_limit
        )
    return DaemonFacts(
        at,
        directory,
        version=str(status.taskd.get("version", "")),
        own_version=__version__,
        max_open_files=_open_files_of(status.taskd.get("pid")),
        unwell=[
            (row.name, row.state, row.reason)
            for row in status.programs
            if row.wanted and row.state != "READY"
        ],
        troubles=[(each.name, each.text) for each in troubles_of(status.taskd, status.programs)],
        former=[measured(each) for each in former_brokers(status)],
    )


def _open_files_of(pid: object) -> int | None:
    try:
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:
            soft = next(line.split()[3] for line in file if line.startswith("Max open files"))
    except (OSError, StopIteration):
        return None
    return int(soft) if soft.isdigit() else None


def _store(key: str, url: str) -> StoreFacts | None:
    if path := file_of(url):
        return _embedded(key, path)
    servers = servers_of(url)
    if len(servers) != 1 or not servers[0][1]:
        return None
    address = (servers[0][0].strip("[]"), servers[0][1])
    shown = f"{address[0]}:{address[1]}"
    try:
        socket.create_connection(address, _CONNECT_S).close()
    except OSError as error:
        return StoreFacts(key, address=shown, connect_error=error.strerror or str(error))
    return StoreFacts(key, address=shown)


def _with_queues(config: Config, store: StoreFacts) -> StoreFacts:
    """Return a broker with what is odd about its queues, if it is there and can be asked."""
    if store.key != "broker" or not _may_be_asked(store):
        return store
    try:
        with open_desk(config) as desk:
            queues = desk.queues()
    except BackendError as error:
        # The facts about a file say what is wrong with it.
        return replace(store, connect_error=str(error)) if store.address else store
    unserved = list(left_alone(queues, config))
    return replace(store, unacked=sum(queue.unacked for queue in queues), unserved=unserved)


def _may_be_asked(store: StoreFacts) -> bool:
    """Return whether a look makes no database, and writes over no log that is not one."""
    if store.address:
        return not store.connect_error
    return store.file is not None and store.file.has_content and not store.garbage_bytes


def _embedded(key: str, path: str) -> StoreFacts:
    directory = place(os.path.dirname(path))
    if directory.mode is None:
        return StoreFacts(key, place(path), directory)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        kind = filesystem_of(os.path.realpath(directory.path), file.read())
    space = os.statvfs(directory.path)
    return StoreFacts(
        key,
        place(path),
        directory,
        filesystem=kind,
        garbage_bytes=garbage_bytes(os.path.realpath(path)),
        free_bytes=space.f_bavail * space.f_frsize,
        total_bytes=space.f_blocks * space.f_frsize,
        free_inodes=space.f_favail,
        total_inodes=space.f_files,
    )


def _is_synchronized() -> bool | None:
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _TIME_ERROR


def _kernel() -> KernelFacts:
    try:
        os.close(os.pidfd_open(os.getpid()))
        has_pidfd = True
    except OSError:
        has_pidfd = False
    answer = ctypes.c_int()
    has_subreaper = ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0) == 0
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            mapped = file.read().split()
    except OSError:
        mapped = _OWN_USER_NAMESPACE
    return KernelFacts(
        release=f"{os.uname().sysname} {os.uname().release}",
        has_pidfd=has_pidfd,
        has_subreaper=has_subreaper,
        has_memfd=hasattr(os, "memfd_create"),
        in_user_namespace=mapped != _OWN_USER_NAMESPACE,
    )
