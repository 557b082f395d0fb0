"""Judges the facts of the systemd unit.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from taskd.base.plural import counted
from taskd.cli.doctor.facts import UnitFacts
from taskd.cli.doctor.findings import Finding, error, note, ok, warning
from taskd.cli.doctor.reach import REMEDY

#: The most that `systemd-analyze security` may say of the shipped unit with its drop-ins.
WORST_EXPOSURE = 2.5
_NOTIFY_RELOAD_SINCE = 253

# Property, values that are right, what goes wrong otherwise, the line that puts it right.
_EXPECTED = (
    (
        "NotifyAccess",
        {"main", "none"},
        "any worker could tell systemd that taskd is ready, or stops",
        "NotifyAccess=main",
    ),
    (
        "OOMPolicy",
        {"continue"},
        "one worker that runs out of memory stops the whole service",
        "OOMPolicy=continue",
    ),
    (
        "Restart",
        {"on-failure", "always", "on-abnormal", "on-abort", "on-watchdog"},
        "a killed taskd stays down",
        "Restart=on-failure",
    ),
)


def check_unit(unit: UnitFacts, *, gives_roles: bool) -> Iterator[Finding]:
    """Yield what is wrong with the unit; ``gives_roles``: [control] names others than root."""
    if unit.systemd_version is None:
        yield note("unit", "systemd does not run here", "nobody starts taskd again when it is killed")
        return
    if unit.properties.get("LoadState") != "loaded":
        yield warning(
            "unit",
            f"{unit.name} is not installed ({unit.properties.get('LoadState', 'unknown')})",
            "taskd does not start with the machine, and nobody starts it again when it is killed",
            "taskctl install-unit, and what it prints",
        )
        return
    findings = [*_manners(unit), *_settings(unit, gives_roles=gives_roles)]
    yield from findings
    if not findings:
        exposure = "" if unit.exposure is None else f", exposure {unit.exposure:g}"
        yield ok("unit", f"{unit.name} is as it should be under systemd {unit.systemd_version}{exposure}")


def _manners(unit: UnitFacts) -> Iterator[Finding]:
    """How the unit stands with the manager."""
    for fault in unit.unreachable:
        yield error("unit", f"ExecStart: {fault}", "systemd ends the start with 203/EXEC", REMEDY)
    if unit.properties.get("Result") == "start-limit-hit":
        yield error(
            "unit",
            "taskd failed to start too often, and systemd has given up",
            "it also refuses to start by hand until that is forgotten",
            "journalctl -u taskd says why; then systemctl reset-failed taskd && systemctl start taskd",
        )
    if unit.properties.get("NeedDaemonReload") == "yes":
        yield warning(
            "unit",
            "the unit file was changed",
            "systemd still uses the former one",
            "systemctl daemon-reload",
        )
    if unit.properties.get("UnitFileState") in {"disabled", "masked"}:
        yield warning(
            "unit",
            f"{unit.name} is {unit.properties['UnitFileState']}",
            "taskd does not start with the machine",
            "systemctl enable taskd",
        )
    if unit.verify_output:
        yield warning(
            "unit",
            f"systemd-analyze verify: {unit.verify_output}",
            "systemd ignores each line that it does not understand",
            "correct the unit or the drop-in",
        )
    if unit.exposure is not None and unit.exposure > WORST_EXPOSURE:
        yield warning(
            "unit",
            f"the exposure by systemd-analyze security is {unit.exposure:g}",
            "a task that is taken over can do more to the machine than it needs to",
            f"systemd-analyze security {unit.name}; the shipped unit has less",
        )
    restarts = int(unit.properties.get("NRestarts") or 0)
    if restarts:
        yield note(
            "unit",
            f"systemd has started taskd again {counted(restarts, 'time')}",
            "taskd was killed, hung or failed",
            "journalctl -u taskd",
        )


def _settings(unit: UnitFacts, *, gives_roles: bool) -> Iterator[Finding]:
    """The findings about the text of the unit."""
    properties = unit.properties
    kind = properties.get("Type", "")
    if kind not in {"notify", "notify-reload"}:
        old = unit.systemd_version is not None and unit.systemd_version < _NOTIFY_RELOAD_SINCE
        yield error(
            "unit",
            f"Type={kind}",
            "systemd does not wait until the workers consume, and takes a hung start for a good one"
            + (f"; systemd {unit.systemd_version} does not know notify-reload" if old else ""),
            "Type=notify",
        )
    if properties.get("KillMode") != "mixed":
        yield error(
            "unit",
            f"KillMode={properties.get('KillMode')}",
            "a stop reaches the workers past taskd: they drop their tasks, or stay behind",
            "KillMode=mixed",
        )
    # systemd shows no watchdog of a service that it has not started yet, whatever the unit says.
    has_run = properties.get("ActiveState") != "inactive"
    if has_run and properties.get("WatchdogUSec", "0") in {"0", "infinity"}:
        yield warning("unit", "no watchdog", "systemd never restarts a taskd that hangs", "WatchdogSec=30s")
    for key, right, why, remedy in _EXPECTED:
        value = properties.get(key, "")
        if value and value not in right:
            yield warning("unit", f"{key}={value}", why, remedy)
    if properties.get("PrivateUsers") == "yes" and gives_roles:
        yield error(
            "unit",
            "PrivateUsers=yes, and [control] gives roles",
            "other users look like nobody (65534) to taskd, so nobody gets a role",
            "PrivateUsers=no, or no lists in [control]",
        )
