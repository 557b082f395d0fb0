"""Start a program: fork, set up, exec.  The only caller of fork in this room.

A program may rely on this: its own session, the standard streams that it was given (``output.streams``), no
other descriptor than those named.  Every signal is at its default, it dies by SIGKILL when the supervisor
dies, and it has the settings of its table (``becoming``).  No signal is blocked, but for taskd's own programs
those of ``program_signals``, until they listen.

Why not subprocess or posix_spawn: neither can set the death signal between fork and exec.  Without it a
program that is killed before its first line, or a supervisor that is, leaves an orphan.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from taskd.base.program_signals import HELD
from taskd.config.transfer import CONFIG_FD_VARIABLE
from taskd.protocol.status import (
    LEDGER_FDS_VARIABLE,
    STATUS_FD_VARIABLE,
    SUPERVISOR_PID_VARIABLE,
    LastWords,
    encode_line,
)
from taskd.supervisor.model.roster import WORKER, ProgramSpec
from taskd.supervisor.process.becoming import Becoming, StepError, execute
from taskd.supervisor.process.belonging import MARK_VARIABLE, new_mark
from taskd.supervisor.process.streams import INHERITED, Streams

#: Where a program and the user's code in it find the configuration file.
CONFIG_VARIABLE = "TASKD_CONFIG"

#: Exit status when exec fails, as in a shell.
EXEC_FAILED = 127

# Where commands that are not taskd's find their status descriptor: in a redirection sh(1) knows only
# descriptors of one digit.
_STATUS_FD = 3

# The variables of the daemon's environment that a program of another user gets: how to find and to show
# things.  The rest may hold secrets, such as those that the file takes from ${NAME}.
_FOR_EVERYBODY = (
    "PATH",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "TMPDIR",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "INVOCATION_ID",
)
_FOR_EVERYBODY_PREFIXES = ("LC_", "PYTHON")

# Addressed to the supervisor alone: a program that inherited them would speak to systemd in its name.
_PRIVATE = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Process:
    """A started process; both descriptors are close-on-exec and belong to the caller.

    ``mark`` is what all its descendants have in their environment; see ``belonging``.
    """

    pid: int
    pidfd: int
    status_fd: int
    mark: str


def inherits(environ: Mapping[str, str], *, other_user: bool) -> dict[str, str]:
    """Return what a program has of the daemon's environment: all but systemd's addresses.

    With ``other_user`` only what is known to hold no secret: the daemon's own user could read all of it in
    /proc anyway, others could not.
    """
    kept = {key: value for key, value in environ.items() if key not in _PRIVATE}
    if not other_user:
        return kept
    return {
        key: value
        for key, value in kept.items()
        if key in _FOR_EVERYBODY or key.startswith(_FOR_EVERYBODY_PREFIXES)
    }


def program_environment(
    spec: ProgramSpec,
    base: Mapping[str, str],
    *,
    config_path: str,
    config_fd: int,
    status_fd: int,
    mark: str = "",
    parent: int = 0,
) -> dict[str, str]:
    """Return the environment of a program: what it ``inherits`` as ``base``, then the additions.

    Only taskd's own programs are given the configuration, which holds passwords.
    """
    environment = dict(base)
    if config_path:
        environment[CONFIG_VARIABLE] = config_path
    environment.update(spec.environment)
    environment[MARK_VARIABLE] = mark
    if spec.is_own:
        if spec.is_configured:
            environment[CONFIG_FD_VARIABLE] = str(config_fd)
        environment[SUPERVISOR_PID_VARIABLE] = str(parent)
    if spec.ledger_fds:
        environment[LEDGER_FDS_VARIABLE] = ",".join(map(str, spec.ledger_fds))
    if spec.reports:
        environment[STATUS_FD_VARIABLE] = str(status_fd)
    return environment


def spawn(
    spec: ProgramSpec, *, config_path: str, config_fd: int = -1, streams: Streams = INHERITED
) -> Process:
    """Start the program and return at once; the result is not waited for.

    ``config_fd`` is for programs that are configured.

    A user or directory that does not exist, or a command that cannot be executed, is reported by the
    new process, as last words on its status descriptor.  Raises: ``OSError`` when no process could be
    made (too many processes, no memory, no descriptors).
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    mark = new_mark()
    parent = os.getpid()
    try:
        pid = _fork(
            streams,
            lambda: _become(
                spec,
                streams.environment(),
                parent=parent,
                status_fd=writing,
                config_path=config_path,
                config_fd=config_fd,
                mark=mark,
            ),
            held=HELD if spec.is_own else frozenset(),
        )
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        return Process(pid=pid, pidfd=os.pidfd_open(pid), status_fd=reading, mark=mark)
    except OSError:
        # Out of descriptors: a process that cannot be watched must not run.  It is a child that
        # nobody knows, so the reaper finds it among the orphans.
        os.kill(pid, signal.SIGKILL)
        os.close(reading)
        raise


def spawn_command(spec: ProgramSpec) -> Process:
    """Start something that is not a program of taskd and gets no configuration.  As ``spawn``."""
    return spawn(spec, config_path="")


def _fork(streams: Streams, become: Callable[[], None], held: Set[signal.Signals]) -> int:
    """Fork a child that does ``become``, blocking the signals ``held``, and never returns from it."""
    # A signal between fork and exec would run the supervisor's handler in the child and be lost.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                _reset_dispositions()
                signal.pthread_sigmask(signal.SIG_SETMASK, held)
                streams.install()
                become()
            finally:
                os._exit(EXEC_FAILED)  # nothing may get back into the supervisor's code
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _become(
    spec: ProgramSpec,
    further: Mapping[str, str],
    *,
    parent: int,
    status_fd: int,
    config_path: str,
    config_fd: int,
    mark: str,
) -> None:
    """Turn the forked child into the program, or say on the status descriptor why it cannot be."""
    inherited = [*spec.ledger_fds]
    inherited += [*((config_fd,) if spec.is_configured else ()), *((status_fd,) if spec.reports else ())]
    try:
        child = Becoming(
            spec.process,
            parent=parent,
            in_background=spec.in_background,
            needs_user=spec.needs_user,
            runs_tasks=spec.kind == WORKER,
        )
        _close_on_exec_except(inherited)
        child.prepare()
        environment = program_environment(
            spec,
            {**inherits(os.environ, other_user=child.is_another), **child.variables},
            config_path=config_path,
            config_fd=config_fd,
            status_fd=status_fd if spec.is_own else _STATUS_FD,
            mark=mark,
            parent=parent,
        )
        if spec.reports and not spec.is_own:
            os.dup2(status_fd, _STATUS_FD)
            os.set_inheritable(status_fd, status_fd == _STATUS_FD)
        execute(spec.command, {**environment, **further})
    except StepError as error:
        _say(status_fd, LastWords(f"{spec.name} could not be started: {error}"))
    except BaseException:  # noqa: BLE001 - nothing may get back into the supervisor's code
        _say(status_fd, LastWords(f"{spec.name} could not be started", traceback.format_exc()))


def _say(status_fd: int, words: LastWords) -> None:
    os.write(status_fd, encode_line(words))


def _reset_dispositions() -> None:
    # exec resets handlers, but what is ignored stays ignored, and Python ignores SIGPIPE.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)


def _close_on_exec_except(keep: Sequence[int]) -> None:
    # Python's own descriptors are close-on-exec already; inherited ones may not be.
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2:
            try:
                os.set_inheritable(fd, fd in keep)
            except OSError:
                pass  # the descriptor of the listing itself
