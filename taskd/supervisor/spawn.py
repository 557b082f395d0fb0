"""Start a program: fork, set up, exec.  The only caller of fork in this room.

What a program may rely on: its own session, the standard streams that it was given (``output.streams``), no
other descriptor than those named, every signal at its default and none
blocked, and death by SIGKILL when the supervisor dies.

Why not subprocess or posix_spawn: neither can set the death signal between fork and exec, and without
it a program that is killed before its first line, or a supervisor that is, leaves an orphan.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskd import prctl
from taskd.config.transfer import CONFIG_FD_VARIABLE
from taskd.protocol.status import STATUS_FD_VARIABLE, SUPERVISOR_PID_VARIABLE, LastWords, encode_line
from taskd.supervisor.output.streams import INHERITED, Streams
from taskd.supervisor.roster import ProgramSpec

#: Where a program and the user's code in it find the configuration file.
CONFIG_VARIABLE = "TASKD_CONFIG"

#: Exit status when exec fails, as in a shell.
EXEC_FAILED = 127

# Addressed to the supervisor alone: a program that inherited them would speak to systemd in its name.
_PRIVATE = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Process:
    """A started process; both descriptors are close-on-exec and belong to the caller."""

    pid: int
    pidfd: int
    status_fd: int


def program_environment(
    spec: ProgramSpec, base: Mapping[str, str], *, config_path: str, config_fd: int, status_fd: int
) -> dict[str, str]:
    """Return the environment of a program: ``base`` without systemd's addresses, then the additions."""
    environment = {key: value for key, value in base.items() if key not in _PRIVATE}
    if config_path:
        environment[CONFIG_VARIABLE] = config_path
    environment.update(spec.environment)
    environment[CONFIG_FD_VARIABLE] = str(config_fd)
    environment[STATUS_FD_VARIABLE] = str(status_fd)
    environment[SUPERVISOR_PID_VARIABLE] = str(os.getpid())
    return environment


def spawn(spec: ProgramSpec, *, config_path: str, config_fd: int, streams: Streams = INHERITED) -> Process:
    """Start the program and return at once; the result is not waited for.

    A directory that does not exist or a command that cannot be executed is reported by the new
    process, as last words on its status descriptor.  Raises: ``OSError`` when no process could be
    made (too many processes, no memory, no descriptors).
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    environment = program_environment(
        spec, os.environ, config_path=config_path, config_fd=config_fd, status_fd=writing
    )
    environment.update(streams.environment())
    # A signal between fork and exec would run the supervisor's handler in the child and be lost.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    parent = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            _become(spec, environment, streams, parent=parent, keep=(config_fd, writing), mask=mask)
    except OSError:
        os.close(reading)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(writing)
    try:
        return Process(pid=pid, pidfd=os.pidfd_open(pid), status_fd=reading)
    except OSError:
        # Out of descriptors: a process that cannot be watched must not run.  It is a child that
        # nobody knows, so the reaper finds it among the orphans.
        os.kill(pid, signal.SIGKILL)
        os.close(reading)
        raise


def _become(
    spec: ProgramSpec,
    environment: Mapping[str, str],
    streams: Streams,
    *,
    parent: int,
    keep: Sequence[int],
    mask: set[signal.Signals | int],
) -> None:
    """Turn the forked child into the program; never returns."""
    status_fd = keep[1]
    try:
        signal.set_wakeup_fd(-1)
        _reset_dispositions()
        os.setsid()  # a terminal's Ctrl-C is for the supervisor, which stops its programs in order
        prctl.die_with_parent(parent, signal.SIGKILL)
        streams.install()
        _close_on_exec_except(keep)
        if spec.directory:
            os.chdir(spec.directory)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execve(spec.command[0], list(spec.command), dict(environment))  # noqa: S606 - without a shell on purpose
    except BaseException as error:  # noqa: BLE001 - nothing may get back into the supervisor's code
        words = LastWords(reason=f"{spec.name} could not be started: {error}")
        os.write(status_fd, encode_line(words))
    finally:
        os._exit(EXEC_FAILED)


def _reset_dispositions() -> None:
    # exec resets handlers, but what is ignored stays ignored, and Python ignores SIGPIPE.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)


def _close_on_exec_except(keep: Sequence[int]) -> None:
    # Python's own descriptors are close-on-exec already; those that taskd inherited may not be.
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2:
            try:
                os.set_inheritable(fd, fd in keep)
            except OSError:
                pass  # the descriptor of the listing itself
