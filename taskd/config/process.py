"""What every supervised process may be told: who it is, where it runs, when it is started again.

The keys that ``[worker.NAME]``, ``[beat]`` and ``[program.NAME]`` have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskd.config.option import Applies, Kind, option

RESTARTS = ("always", "on-failure", "never")

#: Keys that name a command to run when something happened to the process.
HOOKS = ("on_ready", "on_exited", "on_failed", "on_stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """Every process: keys of `[worker.NAME]`, `[program.NAME]` and `[beat]` alike; none: as the daemon."""

    user: str = option(
        Kind.TEXT,
        "user that it runs as, a name or a number; empty keeps the daemon's, or takes TASKD_USER where "
        "that is root",
        default="",
    )
    group: str = option(Kind.TEXT, "group that it runs as; empty takes the user's own", default="")
    groups: tuple[str, ...] | None = option(
        Kind.TEXT_LIST,
        "supplementary groups; without it those that the user has in the group database",
        default=None,
    )
    no_new_privileges: bool = option(
        Kind.BOOLEAN,
        "with user: set-uid commands such as sudo cannot give privileges back",
        default=True,
    )
    umask: int | None = option(Kind.OCTAL, 'mode bits that new files do not get, such as "027"', default=None)
    environment: Mapping[str, str] = option(
        Kind.TEXT_MAP, "variables added to the program's environment", factory=dict
    )
    env_file: str = option(
        Kind.TEXT, "file of NAME=value lines, read at each start; environment outweighs it", default=""
    )
    directory: str = option(Kind.TEXT, "working directory; empty keeps the daemon's", default="")
    limits: Mapping[str, tuple[int, int]] = option(
        Kind.LIMITS,
        "resource limits of setrlimit(2), each a value for both, or [soft, hard]; a worker without data and "
        "as may have three quarters of the machine's memory for its data",
        factory=dict,
    )
    nice: int | None = option(
        Kind.INTEGER, "scheduling priority, higher is more polite", default=None, minimum=-20, maximum=19
    )
    cpu_affinity: tuple[int, ...] = option(
        Kind.CPUS, "processors that it may run on; empty allows all", factory=tuple
    )
    oom_score_adj: int | None = option(
        Kind.INTEGER,
        "how willingly the kernel kills it when memory runs out",
        default=None,
        minimum=-1000,
        maximum=1000,
    )
    autostart: bool = option(
        Kind.BOOLEAN,
        "whether it starts with the daemon; else by taskctl start",
        default=True,
        applies=Applies.LIVE,
    )
    order: int = option(
        Kind.INTEGER,
        "lower ones are started first; equal ones as in the file",
        default=0,
        applies=Applies.LIVE,
    )
    after: tuple[str, ...] = option(
        Kind.TEXT_LIST,
        "tables that are started first: waits until they are ready, or have failed or were stopped",
        factory=tuple,
        applies=Applies.LIVE,
    )
    requires: tuple[str, ...] = option(
        Kind.TEXT_LIST,
        "tables without which it is not started: waits until they are ready",
        factory=tuple,
        applies=Applies.LIVE,
    )
    start_timeout: float | None = option(
        Kind.DURATION,
        "how long it may take until it is ready; as in [supervisor] if not given",
        default=None,
        minimum=0.1,
        applies=Applies.LIVE,
    )
    stop_timeout: float | None = option(
        Kind.DURATION,
        "how long a warm stop waits; as in [supervisor] if not given",
        default=None,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    kill_timeout: float = option(
        Kind.DURATION,
        "how long the step after the warm stop lasts before SIGKILL",
        default=2.0,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    restart: str = option(
        Kind.CHOICE,
        "when it is started again after it ended by itself",
        default="always",
        choices=RESTARTS,
        applies=Applies.LIVE,
    )
    restart_delay: float | None = option(
        Kind.DURATION, "as in [supervisor] if not given", default=None, minimum=0.0, applies=Applies.LIVE
    )
    restart_delay_max: float | None = option(
        Kind.DURATION, "as in [supervisor] if not given", default=None, minimum=0.0, applies=Applies.LIVE
    )
    restart_intensity: int | None = option(
        Kind.INTEGER, "as in [supervisor] if not given", default=None, minimum=1, applies=Applies.LIVE
    )
    restart_period: float | None = option(
        Kind.DURATION, "as in [supervisor] if not given", default=None, minimum=1.0, applies=Applies.LIVE
    )
    on_ready: tuple[str, ...] = option(
        Kind.TEXT_LIST, "command to run when it has become ready", factory=tuple, applies=Applies.LIVE
    )
    on_exited: tuple[str, ...] = option(
        Kind.TEXT_LIST,
        "command to run when it ended without being asked to",
        factory=tuple,
        applies=Applies.LIVE,
    )
    on_failed: tuple[str, ...] = option(
        Kind.TEXT_LIST, "command to run when it died too often", factory=tuple, applies=Applies.LIVE
    )
    on_stopped: tuple[str, ...] = option(
        Kind.TEXT_LIST,
        "command to run when it ended because it was asked to",
        factory=tuple,
        applies=Applies.LIVE,
    )
    hook_timeout: float = option(
        Kind.DURATION,
        "how long such a command may take before it is killed",
        default=30.0,
        minimum=0.1,
        applies=Applies.LIVE,
    )
