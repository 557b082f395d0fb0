"""The doctor's judgement: each fault of a machine is found, named, and has its remedy."""

from __future__ import annotations

import stat
from dataclasses import replace
from typing import Any

import pytest

from taskd.cli.doctor.checks import diagnose
from taskd.cli.doctor.facts import (
    ClockFacts,
    ConfigFacts,
    DaemonFacts,
    FilePlace,
    KernelFacts,
    MachineFacts,
    StoreFacts,
    UnitFacts,
    Who,
)
from taskd.cli.doctor.findings import Finding, FindingSeverity
from taskd.cli.doctor.machine import filesystem_of

TASKD = Who("taskd", 990, frozenset({990}))


def directory(path: str, mode: int = 0o750, uid: int = 990) -> FilePlace:
    return FilePlace(path, stat.S_IFDIR | mode, uid, uid)


def file(path: str, mode: int = 0o640, uid: int = 0, gid: int = 990, modified_at: float = 900.0) -> FilePlace:
    return FilePlace(path, stat.S_IFREG | mode, uid, gid, modified_at)


CONFIG = ConfigFacts(file("/etc/taskd.toml"))
DAEMON = DaemonFacts(
    FilePlace("/run/taskd/taskd.sock", stat.S_IFSOCK | 0o600, 990, 990),
    directory("/run/taskd"),
    version="1",
    own_version="1",
    max_open_files=65536,
)
STORE = StoreFacts(
    "broker",
    file("/var/lib/taskd/broker.db", 0o600, 990),
    directory("/var/lib/taskd"),
    filesystem="ext4",
    free_bytes=10 * 1024**3,
    total_bytes=100 * 1024**3,
    free_inodes=10**6,
    total_inodes=10**7,
)
UNIT = UnitFacts(
    "taskd.service",
    252,
    {
        "LoadState": "loaded",
        "Type": "notify",
        "NotifyAccess": "main",
        "KillMode": "mixed",
        "WatchdogUSec": "30s",
        "Restart": "on-failure",
        "OOMPolicy": "continue",
        "UnitFileState": "enabled",
        "NeedDaemonReload": "no",
        "NRestarts": "0",
    },
    exposure=1.4,
)
GOOD = MachineFacts(
    TASKD, CONFIG, DAEMON, [STORE], ClockFacts(1000.0, True, 900.0), KernelFacts("Linux 6.1"), UNIT
)


def faults(facts: MachineFacts) -> list[Finding]:
    return [finding for finding in diagnose(facts) if finding.severity is not FindingSeverity.OK]


def unit(**properties: str) -> MachineFacts:
    return replace(GOOD, unit=replace(UNIT, properties={**UNIT.properties, **properties}))


def config(**changes: Any) -> MachineFacts:
    return replace(GOOD, config=replace(CONFIG, **changes))


def daemon(**changes: Any) -> MachineFacts:
    return replace(GOOD, daemon=replace(DAEMON, **changes))


def store(**changes: Any) -> MachineFacts:
    return replace(GOOD, stores=[replace(STORE, **changes)])


def test_of_a_service_that_was_not_started_nothing_is_said_about_the_watchdog() -> None:
    assert faults(unit(ActiveState="inactive", WatchdogUSec="0")) == []


def test_a_good_machine_has_no_fault() -> None:
    assert faults(GOOD) == []
    assert {finding.check for finding in diagnose(GOOD)} == {
        "user",
        "config",
        "directories",
        "daemon",
        "broker",
        "clock",
        "kernel",
        "limits",
        "unit",
    }


ERROR, WARNING, NOTE = FindingSeverity.ERROR, FindingSeverity.WARNING, FindingSeverity.NOTE


@pytest.mark.parametrize(
    ("facts", "severity", "text"),
    [
        (replace(GOOD, who=Who("taskd", None)), ERROR, "there is no user 'taskd'"),
        (replace(GOOD, who=Who("root", 0)), WARNING, "taskd runs as root"),
        (config(errors=["/etc/taskd.toml:3: bad"]), ERROR, "/etc/taskd.toml:3: bad"),
        (config(warnings=["/etc/taskd.toml:3: odd"]), WARNING, "/etc/taskd.toml:3: odd"),
        (config(file=file("/etc/t", 0o642)), ERROR, "everybody may write /etc/t"),
        (
            config(file=file("/etc/t", 0o644), secrets=["broker"]),
            ERROR,
            "everybody may read /etc/t, which holds secrets: broker",
        ),
        (config(file=file("/etc/t", 0o600)), ERROR, "taskd may not read /etc/t"),
        (config(directories={"worker.w.directory": FilePlace("/srv/x")}), ERROR, "/srv/x does not exist"),
        (
            config(directories={"worker.w.directory": directory("/srv/x", 0o700, 0)}),
            ERROR,
            "taskd may not enter /srv/x",
        ),
        (config(unknown_names=["@ops"]), ERROR, "[control] names the group '@ops'"),
        (
            replace(config(gives_roles=True), kernel=KernelFacts("Linux", in_user_namespace=True)),
            ERROR,
            "user namespace",
        ),
        (daemon(socket_directory=directory("/tmp", 0o777)), WARNING, "everybody may write /tmp"),
        (daemon(socket_directory=FilePlace("/run/taskd")), NOTE, "/run/taskd does not exist yet"),
        (daemon(error="nobody listens", is_down=True), WARNING, "nobody listens"),
        (daemon(error="no permission"), ERROR, "no permission"),
        (daemon(own_version="2"), WARNING, "taskd 1 runs, and 2 is installed"),
        (daemon(unwell=[("mail-1", "FAILED", "x")]), ERROR, "mail-1 is FAILED: x"),
        (daemon(unwell=[("mail-1", "STARTING", "y")]), WARNING, "mail-1 is STARTING: y"),
        (daemon(unwell=[("mail-1", "STARTING", "waiting: x")]), ERROR, "mail-1 is STARTING: waiting: x"),
        (daemon(troubles=[("beat", "its store was lost; x")]), ERROR, "beat: its store was lost; x"),
        (daemon(unwell=[("mail-1", "BACKOFF", "x")]), WARNING, "mail-1 is BACKOFF: x"),
        (daemon(max_open_files=1024), WARNING, "1024 open files"),
        (store(directory=FilePlace("/var/lib/taskd")), ERROR, "/var/lib/taskd does not exist"),
        (store(filesystem="nfs4"), ERROR, "network file system (nfs4)"),
        (store(filesystem="tmpfs"), WARNING, "in memory"),
        (store(directory=directory("/var/lib/taskd", 0o755, 0)), ERROR, "may not write /var/lib/taskd"),
        (store(file=file("/var/lib/taskd/b", 0o600, 0)), ERROR, "may not write /var/lib/taskd/b"),
        (
            store(file=file("/v/b", 0o644, 990), directory=directory("/v", 0o755)),
            WARNING,
            "everybody may read /v/b",
        ),
        (store(free_bytes=1024), ERROR, "are free at /var/lib/taskd"),
        (store(free_bytes=200 * 1024**2), WARNING, "are free at /var/lib/taskd"),
        (store(file=file("/v/b", 0o600, 990), garbage_bytes=4096), ERROR, "/v/b-wal is not a log of SQLite"),
        (store(free_inodes=5), ERROR, "5 inodes are free"),
        (
            replace(GOOD, stores=[StoreFacts("broker", address="h:6379", connect_error="refused")]),
            ERROR,
            "h:6379 cannot be reached: refused",
        ),
        (
            replace(GOOD, stores=[StoreFacts("broker", address="h:6379", unacked=7)]),
            NOTE,
            "7 messages are with Celery workers",
        ),
        (replace(GOOD, clock=ClockFacts(1000.0, False)), WARNING, "not synchronized"),
        (replace(GOOD, clock=ClockFacts(1000.0, None)), NOTE, "cannot be seen"),
        (replace(GOOD, clock=ClockFacts(1000.0, True, 4600.0)), WARNING, "from the future"),
        (replace(GOOD, kernel=KernelFacts("Linux 4", has_pidfd=False)), ERROR, "Linux 4 lacks pidfd"),
        (replace(GOOD, unit=UnitFacts("taskd.service")), NOTE, "systemd does not run here"),
        (unit(LoadState="not-found"), WARNING, "not installed"),
        (unit(Type="simple"), ERROR, "Type=simple"),
        (unit(KillMode="control-group"), ERROR, "KillMode=control-group"),
        (unit(NotifyAccess="all"), WARNING, "NotifyAccess=all"),
        (unit(OOMPolicy="stop"), WARNING, "OOMPolicy=stop"),
        (unit(Restart="no"), WARNING, "Restart=no"),
        (unit(WatchdogUSec="infinity"), WARNING, "no watchdog"),
        (unit(UnitFileState="disabled"), WARNING, "is disabled"),
        (unit(NeedDaemonReload="yes"), WARNING, "unit file was changed"),
        (unit(NRestarts="3"), NOTE, "3 times"),
        (replace(GOOD, unit=replace(UNIT, exposure=9.2)), WARNING, "9.2"),
        (replace(GOOD, unit=replace(UNIT, verify_output="Unknown key")), WARNING, "Unknown key"),
        (replace(unit(PrivateUsers="yes"), config=replace(CONFIG, gives_roles=True)), ERROR, "PrivateUsers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_is_found_and_has_a_remedy(facts: MachineFacts, severity: FindingSeverity, text: str) -> None:
    found = [finding for finding in faults(facts) if text in finding.what]

    assert [finding.severity for finding in found] == [severity]
    if severity is not FindingSeverity.NOTE:
        assert found[0].why
        assert found[0].remedy


def test_roles_that_nobody_uses_do_not_mind_a_user_namespace() -> None:
    assert faults(replace(GOOD, kernel=KernelFacts("Linux", in_user_namespace=True))) == []
    assert faults(unit(PrivateUsers="yes")) == []


def test_permissions_count_for_the_owner_then_the_group_then_others() -> None:
    place = FilePlace("/x", stat.S_IFREG | 0o640, uid=1, gid=2)

    assert place.allows(Who("owner", 1), 6)
    assert place.allows(Who("member", 5, frozenset({2})), 4)
    assert not place.allows(Who("member", 5, frozenset({2})), 2)
    assert not place.allows(Who("other", 5), 4)
    assert place.allows(Who("root", 0), 6)


def test_the_file_system_is_that_of_the_nearest_mount() -> None:
    mounts = (
        "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "21 20 0:30 / /var/lib rw - xfs /dev/sdb rw\n"
        "22 21 0:31 / /var/lib/my\\040files rw shared:1 - nfs4 host:/x rw\n"
        "garbage\n"
        "23 20 0:32 / /var/libido rw - tmpfs none rw\n"
    )

    assert filesystem_of("/home", mounts) == "ext4"
    assert filesystem_of("/var/lib/taskd", mounts) == "xfs"
    assert filesystem_of("/var/lib/my files/a", mounts) == "nfs4"
    assert filesystem_of("/var/lib", mounts) == "xfs"
