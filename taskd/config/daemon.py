"""The tables of the daemon itself: [supervisor], [log]."""

from __future__ import annotations

from dataclasses import dataclass

from taskd.config.option import Applies, Kind, option

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "plain", "json", "journal")


@dataclass(frozen=True, slots=True)
class SupervisorConfig:
    """[supervisor]: the daemon itself."""

    control_socket: str = option(
        Kind.TEXT,
        "Unix socket that taskctl talks to",
        default="/run/taskd/taskd.sock",
        applies=Applies.RESTART,
    )
    stop_timeout: float = option(
        Kind.DURATION,
        "how long a warm stop waits for running tasks",
        default=300.0,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    start_timeout: float = option(
        Kind.DURATION,
        "how long a program may take until it is ready",
        default=60.0,
        minimum=0.1,
        applies=Applies.LIVE,
    )
    heartbeat_timeout: float = option(
        Kind.DURATION,
        "silence after which a program counts as hung and is replaced, at least 30 s; 0 never",
        default=60.0,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    spiral_kills: int = option(
        Kind.INTEGER,
        "kills of a hanging program within spiral_period that finished no task; then it is left alone; 0 any",
        default=5,
        minimum=0,
        applies=Applies.LIVE,
    )
    spiral_period: float = option(
        Kind.DURATION, "the window of spiral_kills", default=600.0, minimum=1.0, applies=Applies.LIVE
    )
    state_directory: str = option(
        Kind.TEXT,
        "where the register of deaths is kept",
        default="/var/lib/taskd",
        applies=Applies.RESTART,
    )
    deaths_kept: int = option(
        Kind.INTEGER,
        "how many deaths the register keeps",
        default=200,
        minimum=1,
        maximum=10_000,
        applies=Applies.RESTART,
    )
    restart_delay: float = option(
        Kind.DURATION,
        "first delay before a crashed program is started again",
        default=0.1,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    restart_delay_max: float = option(
        Kind.DURATION, "longest delay between restarts", default=60.0, minimum=0.0, applies=Applies.LIVE
    )
    restart_intensity: int = option(
        Kind.INTEGER,
        "restarts within restart_period before a program is only probed",
        default=10,
        minimum=1,
        applies=Applies.LIVE,
    )
    restart_period: float = option(
        Kind.DURATION, "the window of restart_intensity", default=60.0, minimum=1.0, applies=Applies.LIVE
    )
    scale_down_after: float = option(
        Kind.DURATION,
        "a scaled worker gives up a process when fewer would have done for so long",
        default=60.0,
        minimum=1.0,
        applies=Applies.LIVE,
    )
    max_processes: int = option(
        Kind.INTEGER,
        "most processes of all scaled workers together; 0 no limit",
        default=0,
        minimum=0,
        applies=Applies.LIVE,
    )
    max_memory: int = option(
        Kind.SIZE,
        "scaled workers grow only while all of them together hold less; 0 no limit",
        default=0,
        minimum=0,
        applies=Applies.LIVE,
    )

    canary_time: float = option(
        Kind.DURATION,
        "how long the first of the new programs must have done its work before the others are replaced",
        default=1.0,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    roll_attempts: int = option(
        Kind.INTEGER,
        "deaths of new programs after which the former configuration is put back",
        default=3,
        minimum=1,
        applies=Applies.LIVE,
    )


@dataclass(frozen=True, slots=True)
class LogConfig:
    """[log]: what the daemon and its programs write, and where to."""

    level: str = option(
        Kind.CHOICE, "least severe level written", default="info", choices=LOG_LEVELS, applies=Applies.LIVE
    )
    format: str = option(
        Kind.CHOICE,
        "auto is journal under systemd and plain elsewhere",
        default="auto",
        choices=LOG_FORMATS,
    )
    directory: str = option(
        Kind.TEXT,
        "log files NAME.log, one for each program; empty writes to the journal, or to standard error",
        default="",
        applies=Applies.RESTART,
    )
    max_bytes: int = option(
        Kind.SIZE,
        "a log file that would grow beyond it is rotated; 0 never",
        default=10 * 2**20,
        applies=Applies.RESTART,
    )
    backups: int = option(
        Kind.INTEGER,
        "how many rotated files are kept of each",
        default=5,
        minimum=0,
        maximum=1000,
        applies=Applies.RESTART,
    )
    rate: int = option(
        Kind.SIZE,
        "what a program may write in a second, ten times as much in a burst; more is dropped; 0 no limit",
        default=2**20,
        applies=Applies.RESTART,
    )
    tail: int = option(
        Kind.SIZE,
        "memory for the last lines of each program, for taskctl logs",
        default=64 * 2**10,
        applies=Applies.RESTART,
    )
