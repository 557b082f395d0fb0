"""Judges the facts of the machine.  Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from taskd.base.plural import counted
from taskd.cli.doctor.facts import FilePlace, MachineFacts, StoreFacts
from taskd.cli.doctor.findings import Finding, error, note, ok, warning
from taskd.cli.doctor.unit_checks import check_unit
from taskd.cli.former import Former
from taskd.cli.output import age, size
from taskd.supervisor.model.rows import WAITS

#: File systems on which the locks of SQLite do not hold between machines, or not at all.
NETWORK_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs"}) | {
    *("lustre", "afs", "beegfs", "ocfs2", "gfs2", "gpfs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.juicefs"),
}
_LITTLE_SPACE_BYTES = 512 * 1024**2
_NO_SPACE_BYTES = 32 * 1024**2
_FEW_OPEN_FILES = 4096
_FROM_THE_FUTURE_S = 60.0
_OTHERS_READ = 0o004
_OTHERS_WRITE = 0o002


def diagnose(facts: MachineFacts) -> Sequence[Finding]:
    """Return the findings of all checks, in the order of the checks."""
    checks = (_user, _config, _directories, _roles, _daemon, _stores, _clock, _kernel, _limits)
    findings = [finding for check in checks for finding in check(facts)]
    return [*findings, *check_unit(facts.unit, gives_roles=facts.config.gives_roles)]


def _user(facts: MachineFacts) -> Iterator[Finding]:
    if facts.who.uid is None:
        yield error(
            "user",
            f"there is no user {facts.who.name!r}",
            "the unit runs as this user, and does not start without it",
            "systemd-sysusers /usr/lib/sysusers.d/taskd.conf",
        )
    elif facts.who.uid == 0:
        yield warning(
            "user",
            "taskd runs as root",
            "every task can do anything to this machine",
            "User=taskd in the unit; for one user per program, the drop-in multi-user.conf",
        )
    else:
        yield ok("user", f"{facts.who.name} (uid {facts.who.uid})")


def _config(facts: MachineFacts) -> Iterator[Finding]:
    config = facts.config
    for problem in config.errors:
        yield error(
            "config", problem, "taskd does not start with it, and a reload is refused", "edit the file"
        )
    for problem in config.warnings:
        yield warning("config", problem, "you probably mean something else", "edit the file")
    file = config.file
    if file.mode is None:
        return
    if file.mode & _OTHERS_WRITE:
        yield error(
            "config",
            f"everybody may write {file.path}",
            "everybody who can write it decides which code taskd runs",
            f"chmod o-w {file.path}",
        )
    if file.mode & _OTHERS_READ and config.secrets:
        yield error(
            "config",
            f"everybody may read {file.path}, which holds secrets: {', '.join(config.secrets)}",
            "every local user can read the passwords",
            f"chown root:{facts.who.name} {file.path} && chmod 0640 {file.path}",
        )
    if not file.allows(facts.who, 4):
        yield error(
            "config",
            f"{facts.who.name} may not read {file.path}",
            "taskd cannot start",
            f"chgrp {facts.who.name} {file.path} && chmod g+r {file.path}",
        )
    elif not config.errors:
        yield ok("config", f"{file.path} is sound")


def _directories(facts: MachineFacts) -> Iterator[Finding]:
    for key, place in facts.config.directories.items():
        if place.mode is None:
            yield error(
                "directories",
                f"{key}: {place.path} does not exist",
                "the worker cannot start",
                f"create it, or change {key}",
            )
        elif not place.allows(facts.who, 1):
            yield error(
                "directories",
                f"{key}: {facts.who.name} may not enter {place.path}",
                "the worker cannot start",
                f"chmod o+x {place.path}, or its owner",
            )
    place = facts.daemon.socket_directory
    if place.mode is None:
        yield note("directories", f"{place.path} does not exist yet", "the unit makes it at its start")
    elif place.mode & _OTHERS_WRITE:
        yield warning(
            "directories",
            f"everybody may write {place.path}, where the control socket is",
            "another user can put a socket there before taskd does, and taskctl would talk to it",
            'a directory of its own: supervisor.control_socket = "/run/taskd/taskd.sock"',
        )
    else:
        yield ok("directories", f"{place.path} cannot be written by others")


def _roles(facts: MachineFacts) -> Iterator[Finding]:
    for name in facts.config.unknown_names:
        kind = "group" if name.startswith("@") else "user"
        yield error(
            "roles",
            f"[control] names the {kind} {name!r}, which this machine does not have",
            "the people who are meant have no role",
            f"create the {kind}, or correct the name",
        )
    if facts.config.gives_roles and facts.kernel.in_user_namespace:
        yield error(
            "roles",
            "this is a user namespace, in which other users look like nobody (65534)",
            "the kernel cannot tell taskd who connects, so the lists of [control] do not work",
            "run taskd, and this command, outside of it",
        )


def _daemon(facts: MachineFacts) -> Iterator[Finding]:
    daemon = facts.daemon
    if daemon.is_down:
        stale = daemon.socket.mode is not None
        yield warning(
            "daemon",
            daemon.error,
            "a killed daemon left its socket, which the next daemon replaces"
            if stale
            else "no task runs here",
            "systemctl reset-failed taskd; systemctl start taskd; then journalctl -u taskd",
        )
        return
    if daemon.error:
        yield error("daemon", daemon.error, "taskctl cannot reach it", "see the message")
        return
    if daemon.version != daemon.own_version:
        yield warning(
            "daemon",
            f"taskd {daemon.version} runs, and {daemon.own_version} is installed",
            "workers that restart load the new code, under the old supervisor",
            "systemctl restart taskd",
        )
    for name, text in daemon.troubles:
        yield error("daemon", f"{name}: {text}", "it goes on, until it needs what is in trouble", "see above")
    yield from map(_unwell, daemon.unwell)
    for former in daemon.former:
        yield _former(former)
    if not daemon.unwell:
        yield ok("daemon", f"taskd {daemon.version} runs and every wanted program is ready")


def _unwell(program: tuple[str, str, str]) -> Finding:
    """Judge a program that is wanted and not ready; one that has said why waits for somebody."""
    name, state, reason = program
    if reason.startswith(WAITS):
        return error("daemon", f"{name} is {state}: {reason}", "it does no work until then", "as it says")
    finding = error if state == "FAILED" else warning
    remedy = f"taskctl status; taskctl start {name}"
    return finding("daemon", f"{name} is {state}: {reason}", "it does no work", remedy)


def _former(former: Former) -> Finding:
    if former.waiting == former.dead == 0:
        return note(
            "broker", f"nothing waits any more in the former broker {former.address}: rm {former.file}"
        )
    if former.waiting is None:
        wrong = f"this user, or this machine, cannot count the messages in the former broker {former.address}"
    else:
        wrong = (
            f"{counted(former.waiting, 'message')} of the former broker {former.address} and "
            f"{counted(former.dead, 'dead letter')} were left behind"
        )
    return warning(
        "broker",
        wrong,
        "a reload left that broker, and no worker of this daemon takes anything from it",
        f"{former.command}; run a daemon with the former broker until it is empty, then rm {former.file}",
    )


def _stores(facts: MachineFacts) -> Iterator[Finding]:
    for store in facts.stores:
        if store.address:
            yield _server(store)
            if store.unacked:
                yield _with_celery(store)
        elif store.directory is not None:
            yield from _embedded(store, facts)
        for said in store.unserved:
            yield warning(
                store.key,
                said,
                "messages wait there, and no worker takes them",
                "see the message; taskctl queues shows how much waits, taskctl purge QUEUE deletes it",
            )


def _server(store: StoreFacts) -> Finding:
    if not store.connect_error:
        return ok(store.key, f"{store.address} accepts connections")
    return error(
        store.key,
        f"{store.address} cannot be reached: {store.connect_error}",
        "workers wait until it is there, and senders get an error",
        "start the server, or correct the URL; mind a firewall",
    )


def _with_celery(store: StoreFacts) -> Finding:
    claimed = counted(store.unacked, "message is", "messages are")
    return note(
        store.key,
        f"{claimed} with Celery workers or left by killed ones",
        "a taskd worker puts each back after redis.visibility_timeout; taskctl queues shows them as UNACKED",
    )


def _embedded(store: StoreFacts, facts: MachineFacts) -> Iterator[Finding]:
    assert store.directory is not None
    place = store.directory
    who = facts.who
    if place.mode is None:
        yield error(
            store.key,
            f"the directory {place.path} does not exist",
            "the database cannot be made there",
            f"install -d -o {who.name} -g {who.name} -m 0750 {place.path}",
        )
        return
    if store.filesystem in NETWORK_FILESYSTEMS:
        yield error(
            store.key,
            f"{place.path} is on a network file system ({store.filesystem})",
            "SQLite's locks and shared memory do not work there: messages get lost, the file gets corrupt",
            f"a directory on a local disk; or a broker made for several machines ({store.key} = redis://...)",
        )
    elif store.filesystem in {"tmpfs", "ramfs"}:
        yield warning(
            store.key,
            f"{place.path} is in memory ({store.filesystem})",
            "everything that waits there is gone after a restart of the machine",
            "move it to a directory on a disk, such as /var/lib/taskd",
        )
    for wanted in (place, *([store.file] if store.file and store.file.mode is not None else [])):
        if not wanted.allows(who, 2):
            yield error(
                store.key,
                f"{who.name} may not write {wanted.path}",
                "nothing can be sent or settled",
                f"chown {who.name} {wanted.path}",
            )
    if store.file and store.garbage_bytes:
        yield error(
            store.key,
            f"{store.file.path}-wal is not a log of SQLite ({size(store.garbage_bytes)})",
            "the last transactions are lost: SQLite takes such a log for an empty one and writes over it",
            f"before the next start, keep {store.file.path} and its -wal, and see what damaged the disk",
        )
    if store.file and (store.file.mode or 0) & _OTHERS_READ and place.mode & 0o001:
        yield warning(
            store.key,
            f"everybody may read {store.file.path}",
            "it holds the arguments of all tasks",
            f"chmod o-rwx {store.file.path}",
        )
    yield _space(store, place)


def _space(store: StoreFacts, place: FilePlace) -> Finding:
    free = f"{size(store.free_bytes)} of {size(store.total_bytes)} are free at {place.path}"
    why = "on a full disk senders get errors, and workers keep their outcomes in memory"
    remedy = "make room, or move the file; result_expires shortens how long results are kept"
    if store.total_inodes and store.free_inodes * 100 < store.total_inodes:
        return error(store.key, f"{store.free_inodes} inodes are free at {place.path}", why, remedy)
    if store.free_bytes < _NO_SPACE_BYTES:
        return error(store.key, free, why, remedy)
    if store.free_bytes < _LITTLE_SPACE_BYTES:
        return warning(store.key, free, why, remedy)
    return ok(store.key, free)


def _clock(facts: MachineFacts) -> Iterator[Finding]:
    clock = facts.clock
    ahead_s = clock.newest_at - clock.now
    if ahead_s > _FROM_THE_FUTURE_S:
        yield warning(
            "clock",
            f"files of taskd are {age(ahead_s)} from the future: the clock was set back",
            "delays, expiries and the schedule follow this clock",
            "set the clock and let NTP keep it: timedatectl set-ntp true",
        )
    if clock.synchronized is None:
        yield note("clock", "whether the clock is synchronized cannot be seen here")
    elif clock.synchronized:
        yield ok("clock", "synchronized")
    else:
        yield warning(
            "clock",
            "the clock is not synchronized",
            "the schedule runs at wrong times, and machines disagree about delays and expiries",
            "timedatectl set-ntp true, or chrony",
        )


def _kernel(facts: MachineFacts) -> Iterator[Finding]:
    kernel = facts.kernel
    features = {
        "pidfd": kernel.has_pidfd,
        "child subreaper": kernel.has_subreaper,
        "memfd": kernel.has_memfd,
    }
    lacking = [name for name, there in features.items() if not there]
    if lacking:
        yield error(
            "kernel",
            f"{kernel.release} lacks {', '.join(lacking)}",
            "the supervisor cannot watch its programs",
            "Linux 5.4 or later; in a container, a seccomp profile that allows them",
        )
    else:
        yield ok("kernel", f"{kernel.release} has {', '.join(features)}")


def _limits(facts: MachineFacts) -> Iterator[Finding]:
    limit = facts.daemon.max_open_files
    if limit is None:
        return
    if limit < _FEW_OPEN_FILES:
        yield warning(
            "limits",
            f"{limit} open files are allowed",
            "each program needs some, and each connection one",
            "LimitNOFILE=65536 in the unit, or ulimit -n",
        )
    else:
        yield ok("limits", f"{limit} open files are allowed")
