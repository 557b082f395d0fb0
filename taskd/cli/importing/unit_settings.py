"""The settings of a unit that no table takes over: each with the place for it here.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

#: The first words of a setting, and where its value may be written.
_PLACES: Sequence[tuple[str, str]] = (
    ("Limit", "write limits into the table of the worker, if it needs them"),
    ("Nice", "write nice into the table of the worker, if it needs it"),
    ("UMask", "write umask into the table of the worker, if it needs it"),
    ("OOMScoreAdjust", "write oom_score_adj into the table of the worker, if it needs it"),
    ("CPUAffinity", "write cpu_affinity into the table of the worker, if it needs it"),
    ("SupplementaryGroups", "write groups into the table of the worker, if it needs them"),
    ("NoNewPrivileges", "write no_new_privileges into the table of the worker, if it needs it"),
    ("TimeoutStop", "write stop_timeout into the table of the worker, if it needs it"),
    ("ExecStartPre", "taskd runs nothing before a worker; on_ready runs behind its start"),
    ("ExecStartPost", "write on_ready into the table of the worker, if it needs it"),
    ("ExecStopPost", "write on_stopped into the table of the worker, if it needs it"),
)
_TAKEN = frozenset({"Environment", "EnvironmentFile", "WorkingDirectory", "User", "Group", "ExecStart"})
#: taskd starts, watches, restarts and stops its workers.
_OF_A_SUPERVISOR = (
    *("Type", "PIDFile", "RemainAfterExit", "Restart", "StartLimit", "ExecStop", "ExecReload", "Kill"),
    *("SendSIG", "FinalKillSignal", "Timeout", "SuccessExitStatus", "Standard", "Syslog", "Watchdog"),
    *("NotifyAccess", "GuessMainPID"),
)


def left_out_of(settings: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each setting of a unit's section ``[Service]`` that has no key here."""
    own: list[str] = []
    for key, value in settings:
        place = next((place for first, place in _PLACES if key.startswith(first)), "")
        if key in _TAKEN:
            continue
        if not place and key.startswith(_OF_A_SUPERVISOR):
            own.append(f"{key}=")
        else:
            yield f"{key}={value}: {place or 'write it into a drop-in of the unit of taskd, if it is needed'}"
    if own:
        yield f"{', '.join(dict.fromkeys(own))}: taskd starts, watches and stops the workers itself"
