"""Whether this machine has what the tables of processes name: users, commands, directories, processors.

Apart from ``rules``, because the file is also read where nothing of it is run: by ``App()`` in a
producer, on another machine.  ``taskd --check``, ``taskctl check`` and a starting daemon ask here.
"""

from __future__ import annotations

import grp
import os
import pwd
import resource
import stat
from importlib.machinery import PathFinder

from taskd.base.errors import ConfigError
from taskd.base.schemes import file_of
from taskd.config.beat_store import beat_store_url
from taskd.config.choosing import beat_store_kind
from taskd.config.env_file import read_env_file
from taskd.config.kinds import BrokerCan, BrokerKind, PoolKind, StoreCan, StoreKind
from taskd.config.process import HOOKS, ProcessConfig
from taskd.config.process_forms import UNLIMITED
from taskd.config.process_rules import process_tables
from taskd.config.programs import ProgramConfig, WorkerConfig
from taskd.config.provenance import KeyPath
from taskd.config.report import ProblemReport
from taskd.config.schedule import BeatConfig
from taskd.config.schema import Config


def check_machine(config: Config, report: ProblemReport) -> None:
    """Note what the tables of processes name and this machine does not have."""
    _check_libraries(config, report)
    _check_socket(config.supervisor.control_socket, ("supervisor", "control_socket"), report)
    _check_beat_store(config, report)
    for _, path, table in process_tables(config):
        _check_identity(table, path, report)
        _check_files(table, path, report)
        _check_limits(table, path, report)
        _check_processors(table, path, report)
        _check_commands(table, path, report)


def _check_libraries(config: Config, report: ProblemReport) -> None:
    """Note what the file needs and this Python does not have; a table with an interpreter has another."""
    here = {name: worker for name, worker in config.workers.items() if not worker.interpreter}
    for name, worker in here.items():
        _check_kind(worker.kind, ("worker", name, "pool"), report)
    if here:
        broker = config.broker_kind
        results = config.result_kind
        _check_kind(broker, ("broker",), report)
        _check_kind(results, ("results",), report)
        _check_reach(BrokerCan.SPAN_PROCESSES in broker.can, "broker", config.broker, report)
        _check_reach(StoreCan.SPAN_PROCESSES in results.can, "results", config.results, report)
    if config.beat.store and config.beat.run != "never" and not config.beat.interpreter:
        _check_kind(beat_store_kind(config.beat.store), ("beat", "store"), report)


def _check_kind(kind: BrokerKind | StoreKind | PoolKind, path: KeyPath, report: ProblemReport) -> None:
    """Note each library that a kind needs and this Python does not have."""
    missing = [module for module in kind.libraries if not _is_installed(module)]
    if missing:
        wrong = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        report.error(path, wrong, kind.remedy or f"what {kind.name} needs")


def _check_reach(is_shared: bool, key: str, url: str, report: ProblemReport) -> None:
    if not is_shared:
        scheme = url.partition("://")[0]
        wrong = "one process cannot reach the memory of another"
        report.warning((key,), wrong, f"sqlite:// here; {scheme}:// is for tests within one process")


def _check_socket(socket: str, path: KeyPath, report: ProblemReport) -> None:
    """Note anything but a socket that lies where the socket is to be; the daemon will not remove it."""
    try:
        is_socket = stat.S_ISSOCK(os.lstat(socket).st_mode)
    except OSError:
        return  # nothing is there, or the start will say why it cannot be used
    if not is_socket:
        report.error(path, f"{socket} is there and is not a socket", "a path where no other file lies")


def _check_beat_store(config: Config, report: ProblemReport) -> None:
    """Note that the store has no directory; without it beat fires all the same, and remembers nothing."""
    directory = os.path.dirname(file_of(beat_store_url(config)))
    if not config.beat.runs or directory in {"", os.path.dirname(file_of(config.broker))}:
        return  # of the broker's directory its workers tell
    path: KeyPath = ("beat", "store")
    if report.is_sound(path) and not os.path.isdir(directory):
        wrong = f"beat remembers nothing: the directory {directory} does not exist"
        report.warning(path, wrong, "that directory, or [beat] store elsewhere")


def _is_installed(module: str) -> bool:
    return PathFinder.find_spec(module) is not None


def default_user() -> str:
    """Return the user of programs whose table names none: TASKD_USER, where this process is root; else empty.

    The drop-in for many users sets the variable, so that nothing runs as root unless the file says so.
    """
    return os.environ.get("TASKD_USER", "") if os.geteuid() == 0 else ""


def user_of(name: str) -> pwd.struct_passwd:
    """Return the entry of a user that is given by name or number.

    Raises: ``KeyError`` when there is none.
    """
    return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)


def group_of(name: str) -> int:
    """Return the number of a group that is given by name or number.

    Raises: ``KeyError`` when there is no such name; a number needs no entry.
    """
    return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid


def find_command(name: str, search: str) -> str:
    """Return the path of a command on a search path, empty when it is not there.

    As shutil.which, whose import costs a supervisor 3 ms and the modules of five compressions.
    """
    paths = (os.path.join(directory, name) for directory in search.split(os.pathsep) if directory)
    return next((path for path in paths if _is_executable(path)), "")


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _check_identity(table: ProcessConfig, path: KeyPath, report: ProblemReport) -> None:
    if table.user:
        try:
            user = user_of(table.user)
        except (KeyError, OverflowError):
            remedy = f"a user of this machine (useradd --system {table.user}, or sysusers.d)"
            report.error((*path, "user"), f'there is no user "{table.user}"', remedy)
        else:
            if os.geteuid() not in {0, user.pw_uid}:
                report.warning(
                    (*path, "user"),
                    f'only root can start programs as "{table.user}", and this is user {os.geteuid()}',
                    "taskd as root with CAP_SETUID and CAP_SETGID, or no user",
                )
    for key, names in (("group", [table.group] if table.group else []), ("groups", table.groups or ())):
        for name in names:
            try:
                group_of(name)
            except KeyError:
                remedy = f"a group of this machine (groupadd --system {name}, or sysusers.d)"
                report.error((*path, key), f'there is no group "{name}"', remedy)


def _check_files(table: ProcessConfig, path: KeyPath, report: ProblemReport) -> None:
    if table.directory and not os.path.isdir(table.directory):
        # It may come with a mount or be made by another program, so that the file may be right.
        report.warning(
            (*path, "directory"),
            f"the directory {table.directory} does not exist",
            "a directory that is there when the program starts",
        )
    if table.env_file:
        try:
            read_env_file(table.env_file)
        except PermissionError:
            pass  # the daemon may be allowed to read what the one who checks is not
        except OSError as error:
            report.error(
                (*path, "env_file"),
                f"{table.env_file} cannot be read ({error.strerror})",
                "a file of NAME=value lines",
            )
        except ConfigError as error:
            report.error((*path, "env_file"), str(error), "lines of the form NAME=value")


def _check_limits(table: ProcessConfig, path: KeyPath, report: ProblemReport) -> None:
    for name, (_, hard) in table.limits.items():
        allowed = resource.getrlimit(_limit_number(name))[1]
        if allowed == UNLIMITED or UNLIMITED != hard <= allowed or os.geteuid() == 0:
            continue
        report.warning(
            (*path, "limits", name),
            f"only root may raise the hard limit, which is {allowed} here",
            f"at most {allowed}, or Limit{name.upper()}= in the unit of taskd",
        )


def set_limit(name: str, pair: tuple[int, int]) -> None:
    """Apply an entry of ``limits`` to this process.  Raises: ``OSError``, ``ValueError``."""
    resource.setrlimit(_limit_number(name), pair)


def _limit_number(name: str) -> int:
    number: int = getattr(resource, f"RLIMIT_{name.upper()}")
    return number


def _check_processors(table: ProcessConfig, path: KeyPath, report: ProblemReport) -> None:
    there = set(range(os.cpu_count() or 1))
    missing = sorted(set(table.cpu_affinity) - there)
    if missing:
        report.error(
            (*path, "cpu_affinity"),
            f"this machine has no processor {', '.join(map(str, missing))}",
            f"numbers from 0 to {max(there)}",
        )


def _check_commands(table: ProcessConfig, path: KeyPath, report: ProblemReport) -> None:
    search = table.environment.get("PATH", os.environ.get("PATH", os.defpath))
    if isinstance(table, ProgramConfig):
        _check_command(table.command[0], (*path, "command"), search, report)
    elif isinstance(table, (WorkerConfig, BeatConfig)) and table.interpreter:
        expected = "the python of a virtualenv in which taskd is installed, such as /srv/shop/venv/bin/python"
        _check_command(table.interpreter, (*path, "interpreter"), search, report, expected)
    for hook in HOOKS:
        command: tuple[str, ...] = getattr(table, hook)
        if command:
            _check_command(command[0], (*path, hook), os.environ.get("PATH", os.defpath), report)


def _check_command(
    command: str, path: KeyPath, search: str, report: ProblemReport, expected: str = "the path of a command"
) -> None:
    if "/" in command:
        if not _is_executable(command):
            report.error(path, f"{command} is not an executable file", expected)
    elif not find_command(command, search):
        report.error(path, f'the command "{command}" is not found on PATH', "an absolute path")
