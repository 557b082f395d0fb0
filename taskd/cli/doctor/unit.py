"""Asks systemd about the unit.  The one place in taskctl that runs other programs."""

from __future__ import annotations

import os
import re
import subprocess

from taskd.cli.doctor.facts import UnitFacts

_TIMEOUT_S = 20.0
_PROPERTIES = (
    "LoadState,ActiveState,FragmentPath,UnitFileState,NeedDaemonReload,Type,NotifyAccess,KillMode,WatchdogUSec,Restart,"
    "OOMPolicy,PrivateUsers,User,NRestarts,Result,ExecStart,ProtectHome,PrivateTmp,MemoryMax,"
    "WorkingDirectory,Environment"
)
_VERSION = re.compile(r"^systemd (\d+)")
_EXPOSURE = re.compile(r"[Oo]verall exposure level for \S+: ([0-9.]+)")


def unit_facts(name: str) -> UnitFacts:
    """Return what systemd says of a unit; takes a second or two.  Raises nothing: unknown is unknown."""
    version = _VERSION.match(_output("systemctl", "--version"))
    if version is None or not os.path.isdir("/run/systemd/system"):
        return UnitFacts(name)
    lines = _output("systemctl", "show", name, "-p", _PROPERTIES).splitlines()
    properties = dict(line.split("=", 1) for line in lines if "=" in line)
    if properties.get("LoadState") != "loaded":
        return UnitFacts(name, int(version[1]), properties)
    exposure = _EXPOSURE.search(_output("systemd-analyze", "security", "--no-pager", name))
    return UnitFacts(
        name,
        int(version[1]),
        properties,
        verify_output=_output("systemd-analyze", "verify", "--man=no", properties["FragmentPath"]).strip(),
        exposure=float(exposure[1]) if exposure else None,
    )


def _output(*command: str) -> str:
    """Return what a command prints, errors too; an empty text when it cannot be run or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
