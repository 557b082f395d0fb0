"""Rules over several keys; they also make paths absolute.  Reads no file, but asks for extras."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from importlib.util import find_spec

from taskd.base.plural import counted
from taskd.base.schemes import file_of, with_file
from taskd.config.built_in import POOLS
from taskd.config.control import SOCKET_MODE, WHO, WHO_FORM, ControlConfig
from taskd.config.daemon import SupervisorConfig
from taskd.config.kinds import BrokerCan, PoolTrait
from taskd.config.places import check_places
from taskd.config.process_rules import BEAT, check_processes, with_absolute_process_paths
from taskd.config.programs import WorkerConfig
from taskd.config.provenance import KeyPath
from taskd.config.report import ProblemReport
from taskd.config.schedule import BeatEntryConfig
from taskd.config.schema import Config
from taskd.config.serving import unserved
from taskd.config.stores import FailuresConfig
from taskd.config.when import problems_of

_APP = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")
_APP_FORM = '"package.module:attribute"'
# sockaddr_un.sun_path of unix(7), with its closing NUL.
_SOCKET_PATH_BYTES = 107
# Twice the interval at which an idle program sends heartbeats (taskd.protocol.status.Heartbeat).
_SHORTEST_SILENCE_S = 30.0
# Less is a slip of the unit: Celery's number is KiB.
_SMALLEST_CHILD_BYTES = 2**20

#: A node as Celery names them, at most 200 characters.
_NODE = re.compile(r"(?=.{3,200}\Z)([^\s@%]|%[hnd])+@([^\s@%]|%[hnd])+")


def with_absolute_paths(config: Config, directory: str) -> Config:
    """Return the configuration with relative paths taken from the directory of its file."""
    socket = config.supervisor.control_socket and _absolute(config.supervisor.control_socket, directory)
    return replace(
        config,
        broker=_absolute_url(config.broker, directory),
        results=_absolute_url(config.results, directory),
        supervisor=replace(
            config.supervisor,
            control_socket=socket,
            state_directory=_absolute(config.supervisor.state_directory, directory),
        ),
        log=replace(
            config.log, directory=config.log.directory and _absolute(config.log.directory, directory)
        ),
        workers={name: with_absolute_process_paths(each, directory) for name, each in config.workers.items()},
        programs={
            name: with_absolute_process_paths(each, directory) for name, each in config.programs.items()
        },
        beat=with_absolute_process_paths(
            replace(config.beat, store=_absolute_url(config.beat.store, directory)), directory
        ),
    )


def check_rules(config: Config, report: ProblemReport) -> None:
    """Note what is wrong between the keys of a configuration; keys noted as wrong are passed over."""
    _check_app(config.app, ("app",), report)
    _check_results(config, ("results",), report)
    for key, url in (
        (("broker",), config.broker),
        (("results",), config.results),
        (("beat", "store"), config.beat.store),
    ):
        _check_place(url, key, report)
    _check_socket(config.supervisor.control_socket, ("supervisor", "control_socket"), report)
    check_places(config, report)
    _check_failures(config, ("failures",), report)
    _check_heartbeat(config.supervisor, ("supervisor", "heartbeat_timeout"), report)
    _check_delays(config.supervisor, ("supervisor", "restart_delay_max"), report)
    _check_control(config.control, report)
    _check_names(config, report)
    for name, worker in config.workers.items():
        _check_worker(worker, ("worker", name), config, report)
    _check_budget(config, report)
    for name, entry in config.beat.schedule.items():
        _check_entry(entry, ("beat", "schedule", name), report)
        _check_served(entry, ("beat", "schedule", name), config, report)
    check_processes(config, report)
    if not config.workers and report.is_sound(("worker",)):
        report.warning((), "the file has no worker, so no task will run here", "a table [worker.NAME]")


def _absolute(path: str, directory: str) -> str:
    return os.path.normpath(os.path.join(directory, path))


def _absolute_url(url: str, directory: str) -> str:
    path = file_of(url)
    return with_file(url, _absolute(path, directory)) if path else url


def _check_app(app: str, path: KeyPath, report: ProblemReport) -> None:
    if app and not _APP.fullmatch(app):
        # Not quoted: the text may have come from a variable.
        report.error(path, "the text is not the name of an object", _APP_FORM)


def _check_results(config: Config, path: KeyPath, report: ProblemReport) -> None:
    if report.is_sound(path) and report.is_sound(("broker",)):
        missing = config.result_kind.needs - config.broker_kind.can
        if BrokerCan.REPLY in missing:
            report.error(
                path,
                "results travel as messages only over RabbitMQ",
                "a broker amqp://, or a store: redis:// or sqlite://",
            )
        elif missing:
            words = "; ".join(sorted(each.value for each in missing))
            report.error(path, f"the broker cannot do what these results need: {words}", "another of the two")


def _check_failures(config: Config, path: KeyPath, report: ProblemReport) -> None:
    asked = config.failures != FailuresConfig() and config.failures.keep > 0.0
    if asked and report.is_sound(("broker",)) and report.is_sound(path):
        kind = config.broker_kind
        if BrokerCan.KEEP_FAILURES not in kind.can:
            report.error(
                path,
                f"{kind.name} cannot keep the messages of tasks that failed",
                "a broker redis:// or sqlite://, or keep = 0",
            )


def _check_place(url: str, path: KeyPath, report: ProblemReport) -> None:
    """Warn of what looks relative and is not: elsewhere three slashes are a file beside the program."""
    place = file_of(url)
    if os.path.dirname(place) == "/" and report.is_sound(path):
        wrong = f"{place} is a file in the root directory"
        expected = (
            f"sqlite:/{place} for a file beside this one, or an absolute path in a directory of its own"
        )
        report.warning(path, wrong, expected)


def _check_socket(socket: str, path: KeyPath, report: ProblemReport) -> None:
    if not socket and report.is_sound(path):
        report.error(path, "the path is empty", "the path of a Unix socket")
    length = len(os.fsencode(socket))
    if length > _SOCKET_PATH_BYTES:
        wrong = f"the absolute path has {length} bytes"
        report.error(path, wrong, f"at most {_SOCKET_PATH_BYTES}, the limit of Unix sockets")


def _check_heartbeat(supervisor: SupervisorConfig, path: KeyPath, report: ProblemReport) -> None:
    if 0 < supervisor.heartbeat_timeout < _SHORTEST_SILENCE_S:
        expected = f'0 or at least "{_SHORTEST_SILENCE_S:g}s"'
        report.error(path, "idle programs report every 15 s, so taskd would take them for hung", expected)


def _check_delays(supervisor: SupervisorConfig, path: KeyPath, report: ProblemReport) -> None:
    sound = report.is_sound(path) and report.is_sound(("supervisor", "restart_delay"))
    if sound and supervisor.restart_delay_max < supervisor.restart_delay:
        expected = f"at least restart_delay, {counted(supervisor.restart_delay, 'second')}"
        report.error(path, "the longest delay is shorter than the first", expected)


def _check_control(control: ControlConfig, report: ProblemReport) -> None:
    """Refuse names that no user or group can have; ``machine`` says whether one exists."""
    for key in ("viewers", "operators", "admins"):
        for who in getattr(control, key):
            if not WHO.fullmatch(who):
                report.error(("control", key), f'"{who}" is not a user or a group', WHO_FORM)
    if not SOCKET_MODE.fullmatch(control.socket_mode):
        wrong = f'"{control.socket_mode}" is not a mode'
        report.error(("control", "socket_mode"), wrong, 'three octal digits such as "0660"')
    if control.socket_group and not WHO.fullmatch("@" + control.socket_group):
        wrong = f'"{control.socket_group}" is not a group'
        report.error(("control", "socket_group"), wrong, "the name or number of a group, without @")
    grants = control.viewers or control.operators or control.admins
    if grants and report.is_sound(("control", "socket_mode")) and not int(control.socket_mode, 8) & 0o066:
        wrong = "the lists of [control] let others in, but the socket's mode does not"
        report.warning(("control", "socket_mode"), wrong, '"0660", and socket_group if need be')


def _check_names(config: Config, report: ProblemReport) -> None:
    """Refuse names under which taskctl, or the broker, could mean two things."""
    kinds = {**dict.fromkeys(config.workers, "worker"), **dict.fromkeys(config.programs, "program")}
    paths = [("worker", name) for name in config.workers] + [("program", name) for name in config.programs]
    for path in paths:
        kind, name = path
        other, dash, slot = name.rpartition("-")
        # Slots beyond processes are used too, while programs are replaced or scaled.
        if dash and slot.isdigit() and other in kinds:
            report.error(
                path,
                f'the name "{name}" is also the program name of a process of {kinds[other]} "{other}"',
                "another name",
            )
        if name == BEAT:
            report.error(path, 'the name "beat" is taken by the scheduler', "another name")
        if kind == "program" and name in config.workers:
            report.error(path, f'the name "{name}" is taken by a worker', "another name")


def _check_worker(worker: WorkerConfig, path: KeyPath, config: Config, report: ProblemReport) -> None:
    _check_app(worker.app, (*path, "app"), report)
    apps_are_sound = report.is_sound((*path, "app")) and report.is_sound(("app",))
    if apps_are_sound and not worker.app and not config.app:
        report.error(path, "there is no app, neither here nor at the top of the file", f"app = {_APP_FORM}")
    if not worker.queues or not all(worker.queues):
        report.error(
            (*path, "queues"), "a queue name is missing", "at least one queue name, and no empty one"
        )
    twice = sorted({queue for queue in worker.queues if worker.queues.count(queue) > 1})
    if twice:
        report.warning((*path, "queues"), f'listed more than once: "{", ".join(twice)}"', "each queue once")
    _check_bounds(worker, path, report)
    _check_processes(worker, path, report)
    _check_node(worker, path, config, report)
    _check_stop(worker, path, config, report)
    if not worker.max_surge and not worker.max_unavailable and report.is_sound((*path, "max_unavailable")):
        wrong = "with neither max_surge nor max_unavailable no program could ever be replaced"
        report.error((*path, "max_unavailable"), wrong, "1 or more in one of them")
    if 0 < worker.time_limit <= worker.soft_time_limit:
        report.error(
            (*path, "soft_time_limit"),
            "the soft limit would never be reached before the hard one",
            f"less than time_limit, {counted(worker.time_limit, 'second')}",
        )


def _check_stop(worker: WorkerConfig, path: KeyPath, config: Config, report: ProblemReport) -> None:
    if worker.soft_shutdown_timeout > config.supervisor.stop_timeout:
        report.error(
            (*path, "soft_shutdown_timeout"),
            "the soft step would begin before the stop does",
            f"at most supervisor.stop_timeout, {counted(config.supervisor.stop_timeout, 'second')}",
        )


def _check_bounds(worker: WorkerConfig, path: KeyPath, report: ProblemReport) -> None:
    """Refuse bounds that are not, and say which keys do nothing on this pool."""
    least_path = (*path, "min_concurrency")
    sound = report.is_sound((*path, "concurrency")) and report.is_sound(least_path)
    if sound and 0 < worker.concurrency < worker.min_concurrency:
        expected = f"at most concurrency, {worker.concurrency}"
        report.error(least_path, "the pool would begin with more than it may have", expected)
    if not report.is_sound((*path, "pool")):
        return
    traits = worker.kind.traits
    if worker.min_concurrency and PoolTrait.RESIZABLE not in traits:
        wrong = f"a pool of the kind {worker.pool} has a fixed size"
        resizable = " or ".join(name for name, kind in POOLS.items() if PoolTrait.RESIZABLE in kind.traits)
        report.error(least_path, wrong, f"pool = {resizable}, or no min_concurrency")
    if 0 < worker.max_memory_per_child < _SMALLEST_CHILD_BYTES:
        memory_path = (*path, "max_memory_per_child")
        report.error(memory_path, "no child is that small", 'at least "1MiB"; a bare number is bytes')
    for key in ("max_tasks_per_child", "max_memory_per_child", "max_age_per_child"):
        if getattr(worker, key) and PoolTrait.CHILDREN not in traits:
            report.warning((*path, key), f"the pool {worker.pool} has no child processes", 'pool = "prefork"')


def _check_processes(worker: WorkerConfig, path: KeyPath, report: ProblemReport) -> None:
    least_path = (*path, "min_processes")
    sound = report.is_sound((*path, "processes")) and report.is_sound(least_path)
    if sound and worker.min_processes > worker.processes:
        expected = f"at most processes, {worker.processes}"
        report.error(least_path, "there would be more than there may be", expected)


def _check_node(worker: WorkerConfig, path: KeyPath, config: Config, report: ProblemReport) -> None:
    here = (*path, "node")
    node = worker.node
    if not node:
        return
    if not _NODE.fullmatch(node):
        report.error(
            here, f'"{node}" is not the name of a node', '"celery@%h", in which % stands before h, n or d'
        )
    elif worker.processes > 1:
        wrong = f"{worker.processes} processes cannot share a name"
        report.error(here, wrong, "processes = 1, or no node")
    elif any(other.node == node for other in config.workers.values() if other.name != worker.name):
        report.error(here, f'another worker is called "{node}", too', "a name of its own for each")


def _check_budget(config: Config, report: ProblemReport) -> None:
    path = ("supervisor", "max_processes")
    most = config.supervisor.max_processes
    least = sum(worker.min_processes for worker in config.workers.values())
    if report.is_sound(path) and 0 < most < least:
        report.error(path, f"the min_processes of all workers are {least} already", f"0 or at least {least}")


def _check_served(entry: BeatEntryConfig, path: KeyPath, config: Config, report: ProblemReport) -> None:
    """Warn of a queue without a worker, where workers of other hosts cannot have it."""
    sound = all(report.is_sound(each) for each in (("broker",), ("worker",), path))
    if sound and BrokerCan.SPAN_HOSTS not in config.broker_kind.can:
        wrong, _, remedy = unserved(entry.queue, config).partition("; ")
        if wrong:
            report.warning((*path, "queue"), wrong, f"the queue of a worker; {remedy}")


def _check_entry(entry: BeatEntryConfig, path: KeyPath, report: ProblemReport) -> None:
    if not entry.task and report.is_sound((*path, "task")):
        report.error((*path, "task"), "the task name is empty", "the name of a task")
    if not entry.queue:
        report.error((*path, "queue"), "the queue name is empty", "the name of a queue")
    if not report.is_sound(path):
        return  # the rules between the keys rest on sound ones
    for problem in problems_of(entry):
        report.error((*path, problem.key) if problem.key else path, problem.wrong, problem.expected)
    if entry.solar and find_spec("astral") is None:
        wrong = "sun times need the package astral, which is not installed"
        report.error((*path, "solar"), wrong, "the extra solar: pip install 'taskd[solar]'")
