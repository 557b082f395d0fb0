"""Settings of every supervised process: its user, its place, its restarts.

The keys that ``[worker.NAME]``, ``[beat]`` and ``[program.NAME]`` have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskd.config.option import Applies, ValueForm, option

RESTARTS = ("always", "on-failure", "never")

#: Keys that name a command to run when something happened to the process.
HOOKS = ("on_ready", "on_exited", "on_failed", "on_stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """Every process: keys of `[worker.NAME]`, `[program.NAME]` and `[beat]`. Unset ones follow the daemon."""

    user: str = option(
        ValueForm.TEXT,
        "User that the process runs as: a name or a number. Empty means the daemon's user, or TASKD_USER "
        "where the daemon is root.",
        default="",
    )
    group: str = option(
        ValueForm.TEXT, "Group that the process runs as. Empty means the user's own.", default=""
    )
    groups: tuple[str, ...] | None = option(
        ValueForm.TEXT_LIST,
        "Supplementary groups. If not given, those that the group database lists for the user.",
        default=None,
    )
    no_new_privileges: bool = option(
        ValueForm.BOOLEAN,
        "With user: set-uid commands such as sudo cannot give privileges back.",
        default=True,
    )
    umask: int | None = option(
        ValueForm.OCTAL, 'Mode bits that new files do not get, such as "027".', default=None
    )
    environment: Mapping[str, str] = option(
        ValueForm.TEXT_MAP, "Variables added to the environment of the process.", factory=dict
    )
    env_file: str = option(
        ValueForm.TEXT,
        "File of NAME=value lines, read at each start. The environment key outweighs it.",
        default="",
    )
    directory: str = option(ValueForm.TEXT, "Working directory. Empty means the daemon's.", default="")
    limits: Mapping[str, tuple[int, int]] = option(
        ValueForm.LIMITS,
        "Resource limits of setrlimit(2): one value for both limits, or [soft, hard]. A worker without "
        "data and as may use three quarters of the machine's memory for its data.",
        factory=dict,
    )
    nice: int | None = option(
        ValueForm.INTEGER,
        "Scheduling priority. A higher value is more polite.",
        default=None,
        minimum=-20,
        maximum=19,
    )
    cpu_affinity: tuple[int, ...] = option(
        ValueForm.CPUS, "Processors that the process may run on. Empty allows all.", factory=tuple
    )
    oom_score_adj: int | None = option(
        ValueForm.INTEGER,
        "How willingly the kernel kills the process when memory runs out.",
        default=None,
        minimum=-1000,
        maximum=1000,
    )
    autostart: bool = option(
        ValueForm.BOOLEAN,
        "Whether the process starts with the daemon. If not, taskctl start starts it.",
        default=True,
        applies=Applies.LIVE,
    )
    order: int = option(
        ValueForm.INTEGER,
        "Position in the start order: lower numbers start first. Equal numbers start as they stand in "
        "the file.",
        default=0,
        applies=Applies.LIVE,
    )
    after: tuple[str, ...] = option(
        ValueForm.TEXT_LIST,
        "Tables that start first. The process waits until each of them is ready, has failed or is stopped.",
        factory=tuple,
        applies=Applies.LIVE,
    )
    requires: tuple[str, ...] = option(
        ValueForm.TEXT_LIST,
        "Tables that the process needs. It waits until each of them is ready.",
        factory=tuple,
        applies=Applies.LIVE,
    )
    start_timeout: float | None = option(
        ValueForm.DURATION,
        "How long the process may take until it is ready. If not given, as in [supervisor].",
        default=None,
        minimum=0.1,
        applies=Applies.LIVE,
    )
    stop_timeout: float | None = option(
        ValueForm.DURATION,
        "How long a warm stop waits. If not given, as in [supervisor].",
        default=None,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    kill_timeout: float = option(
        ValueForm.DURATION,
        "How long the step after the warm stop lasts before SIGKILL.",
        default=2.0,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    restart: str = option(
        ValueForm.CHOICE,
        "When the process is started again after it ended by itself.",
        default="always",
        choices=RESTARTS,
        applies=Applies.LIVE,
    )
    restart_delay: float | None = option(
        ValueForm.DURATION,
        "First delay before a restart. If not given, as in [supervisor].",
        default=None,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    restart_delay_max: float | None = option(
        ValueForm.DURATION,
        "Longest delay between restarts. If not given, as in [supervisor].",
        default=None,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    restart_intensity: int | None = option(
        ValueForm.INTEGER,
        "Restarts within restart_period before the process is only probed. If not given, as in [supervisor].",
        default=None,
        minimum=1,
        applies=Applies.LIVE,
    )
    restart_period: float | None = option(
        ValueForm.DURATION,
        "Window of restart_intensity. If not given, as in [supervisor].",
        default=None,
        minimum=1.0,
        applies=Applies.LIVE,
    )
    on_ready: tuple[str, ...] = option(
        ValueForm.TEXT_LIST,
        "Command to run when the process has become ready.",
        factory=tuple,
        applies=Applies.LIVE,
    )
    on_exited: tuple[str, ...] = option(
        ValueForm.TEXT_LIST,
        "Command to run when the process ended without being asked to.",
        factory=tuple,
        applies=Applies.LIVE,
    )
    on_failed: tuple[str, ...] = option(
        ValueForm.TEXT_LIST,
        "Command to run when the process died too often.",
        factory=tuple,
        applies=Applies.LIVE,
    )
    on_stopped: tuple[str, ...] = option(
        ValueForm.TEXT_LIST,
        "Command to run when the process ended because it was asked to.",
        factory=tuple,
        applies=Applies.LIVE,
    )
    hook_timeout: float = option(
        ValueForm.DURATION,
        "How long such a command may take before it is killed.",
        default=30.0,
        minimum=0.1,
        applies=Applies.LIVE,
    )
