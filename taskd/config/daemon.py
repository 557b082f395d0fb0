"""The tables of the daemon itself: [supervisor], [log]."""

from __future__ import annotations

from dataclasses import dataclass

from taskd.config.option import Applies, ValueForm, option

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "plain", "json", "journal")


@dataclass(frozen=True, slots=True)
class SupervisorConfig:
    """[supervisor]: the daemon itself."""

    control_socket: str = option(
        ValueForm.TEXT,
        "Unix socket over which taskctl talks to the daemon.",
        default="/run/taskd/taskd.sock",
        applies=Applies.RESTART,
    )
    stop_timeout: float = option(
        ValueForm.DURATION,
        "How long a warm stop waits for running tasks.",
        default=300.0,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    start_timeout: float = option(
        ValueForm.DURATION,
        "How long a program may take until it is ready.",
        default=60.0,
        minimum=0.1,
        applies=Applies.LIVE,
    )
    heartbeat_timeout: float = option(
        ValueForm.DURATION,
        "Silence after which a program counts as hung and is replaced, at least 30 s. 0 turns this off.",
        default=60.0,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    spiral_kills: int = option(
        ValueForm.INTEGER,
        "Number of kills of a hanging program within spiral_period that finished no task. Then the "
        "daemon leaves the program alone. 0 means no limit.",
        default=5,
        minimum=0,
        applies=Applies.LIVE,
    )
    spiral_period: float = option(
        ValueForm.DURATION, "Window of spiral_kills.", default=600.0, minimum=1.0, applies=Applies.LIVE
    )
    state_directory: str = option(
        ValueForm.TEXT,
        "Directory of the register of deaths. Where the broker has no file, beat.db lies there too.",
        default="/var/lib/taskd",
        applies=Applies.RESTART,
    )
    deaths_kept: int = option(
        ValueForm.INTEGER,
        "Number of deaths that the register keeps.",
        default=200,
        minimum=1,
        maximum=10_000,
        applies=Applies.RESTART,
    )
    restart_delay: float = option(
        ValueForm.DURATION,
        "First delay before a crashed program is started again.",
        default=0.1,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    restart_delay_max: float = option(
        ValueForm.DURATION, "Longest delay between restarts.", default=60.0, minimum=0.0, applies=Applies.LIVE
    )
    restart_intensity: int = option(
        ValueForm.INTEGER,
        "Restarts within restart_period before a program is only probed.",
        default=10,
        minimum=1,
        applies=Applies.LIVE,
    )
    restart_period: float = option(
        ValueForm.DURATION, "Window of restart_intensity.", default=60.0, minimum=1.0, applies=Applies.LIVE
    )
    scale_down_after: float = option(
        ValueForm.DURATION,
        "A scaled worker gives up a process when it could have done with fewer for this long.",
        default=60.0,
        minimum=1.0,
        applies=Applies.LIVE,
    )
    max_processes: int = option(
        ValueForm.INTEGER,
        "Largest number of processes of all scaled workers together. 0 means no limit.",
        default=0,
        minimum=0,
        applies=Applies.LIVE,
    )
    max_memory: int = option(
        ValueForm.SIZE,
        "Scaled workers grow only while all of them together hold less memory than this. 0 means no limit.",
        default=0,
        minimum=0,
        applies=Applies.LIVE,
    )

    canary_time: float = option(
        ValueForm.DURATION,
        "How long the first new program of a roll must have done its work before the others are replaced.",
        default=1.0,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    roll_attempts: int = option(
        ValueForm.INTEGER,
        "Number of deaths of new programs after which the former configuration is put back.",
        default=3,
        minimum=1,
        applies=Applies.LIVE,
    )


@dataclass(frozen=True, slots=True)
class LogConfig:
    """[log]: what the daemon and its programs write, and where to."""

    level: str = option(
        ValueForm.CHOICE,
        "Least severe level that is written.",
        default="info",
        choices=LOG_LEVELS,
        applies=Applies.LIVE,
    )
    format: str = option(
        ValueForm.CHOICE,
        "Form of log lines. auto means journal under systemd and plain elsewhere.",
        default="auto",
        choices=LOG_FORMATS,
    )
    directory: str = option(
        ValueForm.TEXT,
        "Directory of log files NAME.log, one for each program. Empty writes to the journal, or to "
        "standard error.",
        default="",
        applies=Applies.RESTART,
    )
    max_bytes: int = option(
        ValueForm.SIZE,
        "Size at which a log file is rotated. 0 turns rotation off.",
        default=10 * 2**20,
        applies=Applies.RESTART,
    )
    backups: int = option(
        ValueForm.INTEGER,
        "Number of rotated files that are kept of each log file.",
        default=5,
        minimum=0,
        maximum=1000,
        applies=Applies.RESTART,
    )
    rate: int = option(
        ValueForm.SIZE,
        "Bytes that a program may write in a second, and ten times as many in a burst. The rest is "
        "dropped. 0 means no limit.",
        default=2**20,
        applies=Applies.RESTART,
    )
    tail: int = option(
        ValueForm.SIZE,
        "Memory for the last lines of each program, which taskctl logs shows.",
        default=64 * 2**10,
        applies=Applies.RESTART,
    )
