"""Makes a forked child the program that the configuration describes, step by step.

Runs between fork and exec, in a process with one thread: it may block (a user may come from LDAP) and
the supervisor does not notice.  The order matters: steps that need privileges come before the change of
user, and settings that the change of user clears come after it.  A step that fails is named with its remedy.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from taskd.config.env_file import read_env_file
from taskd.config.machine import find_command, group_of, set_limit, user_of
from taskd.config.process import ProcessConfig
from taskd.host import prctl
from taskd.supervisor.process import background

#: The share of the machine's memory that one process that runs tasks may have for its data.
MEMORY_SHARE = 0.75


class StepError(Exception):
    """A step failed; the text names the step, what is wrong and what to do."""


@dataclass(slots=True)
class Becoming:
    """One child on its way to exec.  ``variables`` collects what the steps add to the environment."""

    settings: ProcessConfig
    parent: int
    in_background: bool = False
    needs_user: bool = False
    #: Whether it runs tasks, which get no more than a share of the machine's memory unless the table says so.
    runs_tasks: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    _former_uid: int = 0

    @property
    def is_another(self) -> bool:
        """Whether the process has another user than the daemon by now."""
        return os.geteuid() != self._former_uid

    def prepare(self) -> None:
        """Take every step but the exec.  Raises: ``StepError``."""
        self._former_uid = os.geteuid()
        for name, action, remedy in self._steps():
            try:
                action()
            except Exception as error:
                raise StepError(f"{name}: {_words(error)}; {remedy}") from error

    def _steps(self) -> tuple[tuple[str, Callable[[], None], str], ...]:
        return (
            ("session", os.setsid, "this is a fault of taskd"),
            # Here already, so that no step can outlive the supervisor, and again after the change of user.
            ("parent", self._die_with_parent, "this is a fault of taskd"),
            ("oom_score_adj", self._oom_score_adj, "values below the daemon's own need CAP_SYS_RESOURCE"),
            ("nice", self._nice, "values below the daemon's own need CAP_SYS_NICE"),
            ("cpu_affinity", self._cpu_affinity, "name processors that this machine has"),
            ("limits", self._limits, "raise the limit of taskd itself (Limit...= in its unit)"),
            ("memory", self._bound_memory, "limits.data in its table"),
            ("umask", self._umask, "an octal mode such as 027"),
            ("env_file", self._env_file, "correct the file, or take env_file out"),
            (
                "user",
                self._identity,
                "create user and group (sysusers.d, useradd --system); only root can change to them",
            ),
            ("no_new_privileges", self._no_new_privileges, "no_new_privileges = false"),
            ("parent", self._die_with_parent, "this is a fault of taskd"),
            ("background", self._step_back, "this is a fault of taskd"),
            # After the change of user: the directory must be one that the program itself may enter.
            ("directory", self._directory, "create it, or let the user of the program enter it"),
        )

    def _die_with_parent(self) -> None:
        # setuid and setgid clear the death signal; the call compares getppid after it has set it.
        prctl.die_with_parent(self.parent, signal.SIGKILL)

    def _oom_score_adj(self) -> None:
        if self.settings.oom_score_adj is not None:
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write(str(self.settings.oom_score_adj))

    def _nice(self) -> None:
        if self.settings.nice is not None:
            os.setpriority(os.PRIO_PROCESS, 0, self.settings.nice)

    def _step_back(self) -> None:
        if self.in_background:
            background.step_back(self.settings, self.variables, self._former_uid)

    def _cpu_affinity(self) -> None:
        if self.settings.cpu_affinity:
            os.sched_setaffinity(0, self.settings.cpu_affinity)

    def _limits(self) -> None:
        for name, pair in self.settings.limits.items():
            try:
                set_limit(name, pair)
            except (OSError, ValueError) as error:
                raise ValueError(f"{name} = {list(pair)}: {_words(error)}") from error

    def _bound_memory(self) -> None:
        """Let an allocation fail that nobody can mean: MemoryError in one task, and not the end of others.

        Only the soft limit, which the code may raise for itself.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if (
            self.runs_tasks
            and soft == resource.RLIM_INFINITY
            and not {"data", "as"} & set(self.settings.limits)
        ):
            machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            most = int(machine_bytes * MEMORY_SHARE)
            resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))

    def _umask(self) -> None:
        if self.settings.umask is not None:
            os.umask(self.settings.umask)

    def _env_file(self) -> None:
        if self.settings.env_file:
            self.variables.update(read_env_file(self.settings.env_file))

    def _identity(self) -> None:
        """Change supplementary groups, group and user, in this order: each step needs what the next drops."""
        wanted = self.settings.user
        if not wanted:
            if self.needs_user and os.geteuid() == 0:
                raise LookupError(
                    'it would run as root beside programs of other users: give its table a user, or "root"'
                )
            return
        try:
            user = user_of(wanted)
        except KeyError:
            raise LookupError(f'there is no user "{wanted}"') from None
        try:
            gid = group_of(self.settings.group) if self.settings.group else user.pw_gid
            groups = [group_of(name) for name in self.settings.groups or ()]
        except KeyError as error:
            raise LookupError(f"there is no group {error.args[0].rpartition(' ')[2]}") from None
        for name, value in (("HOME", user.pw_dir), ("USER", user.pw_name), ("LOGNAME", user.pw_name)):
            self.variables.setdefault(name, value)
        is_myself = (os.geteuid(), os.getegid()) == (user.pw_uid, gid) and os.geteuid() != 0
        if is_myself and self.settings.groups is None:
            return  # a daemon without privileges may be told what it is anyway
        os.setgroups(os.getgrouplist(user.pw_name, gid) if self.settings.groups is None else [gid, *groups])
        os.setgid(gid)
        os.setuid(user.pw_uid)

    def _no_new_privileges(self) -> None:
        if self.settings.user and self.settings.no_new_privileges:
            prctl.no_new_privileges()

    def _directory(self) -> None:
        if self.settings.directory:
            os.chdir(self.settings.directory)


def execute(command: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
    """Become the command, which is looked for on the PATH of its own environment.

    Raises: ``StepError``.
    """
    found = command[0]
    if "/" not in found:
        search = environment.get("PATH", os.defpath)
        found = find_command(found, search)
        if not found:
            raise StepError(
                f'command: "{command[0]}" is not found on PATH ({search}); give its absolute path'
            )
    try:
        os.execve(found, command, environment)  # noqa: S606 - without a shell on purpose
    except OSError as error:
        remedy = {
            errno.ENOENT: "install it, or correct the path of the command or interpreter",
            errno.EACCES: "make it executable for the user of the program",
            errno.ENOEXEC: "it is not a program: begin it with a line such as #!/bin/sh",
            errno.EAGAIN: "raise limits.nproc: the user runs too many processes",
            errno.E2BIG: "make the environment smaller",
        }.get(error.errno or 0, "see execve(2)")
        raise StepError(f"command: {found}: {error.strerror}; {remedy}") from error


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return str(error) or type(error).__name__
