"""Judges for ``taskctl doctor --security`` which ways lead from a user or a task to too much.

Pure: facts in, findings out.  docs/security.md says what each way is worth.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from taskd.cli.doctor.facts import FilePlace, Who
from taskd.cli.doctor.findings import Finding, error, note, ok, warning

_CHECK = "security"
_OTHERS_READ = 0o004
_OTHERS_WRITE = 0o002
_GROUP_WRITE = 0o020


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """One table of processes; ``who`` is its user, ``code`` each directory from which it imports."""

    table: str
    who: Who
    code: Sequence[FilePlace] = ()
    env_file: FilePlace | None = None
    is_memory_bounded: bool = True


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A broker or store behind an address; ``key`` is that of the configuration."""

    key: str
    place: str
    is_here: bool
    has_tls: bool
    has_password: bool


@dataclass(frozen=True, slots=True)
class ExposureFacts:
    """The ways that the configuration and the machine open."""

    daemon: Who
    config: FilePlace
    programs: Sequence[ProgramFacts] = ()
    servers: Sequence[ServerFacts] = ()
    #: Databases and what else holds the arguments of tasks.
    files: Sequence[FilePlace] = ()
    accept_content: Sequence[str] = ()
    #: Remote control that workers accept over the broker: "off", "read" or "all".
    remote_control: str = "all"
    socket_mode: int = 0o600
    #: Properties of the systemd unit, empty where there is none.
    unit: Mapping[str, str] = field(default_factory=dict)


def diagnose_security(facts: ExposureFacts) -> Sequence[Finding]:
    """Return the findings; one that says so when there are none."""
    checks = (_files, _users, _code, _content, _servers, _control, _memory)
    found = [finding for check in checks for finding in check(facts)]
    return found or [ok(_CHECK, "the configuration opens no way that it need not open")]


def _files(facts: ExposureFacts) -> Iterator[Finding]:
    if (facts.config.mode or 0) & _OTHERS_READ:
        why = "it names users, servers and commands, and may come to hold passwords"
        yield warning(
            _CHECK, f"everybody may read {facts.config.path}", why, f"chmod o-r {facts.config.path}"
        )
    for program in facts.programs:
        if program.who.uid != facts.daemon.uid and facts.config.allows(program.who, 4) and program.who.uid:
            yield error(
                _CHECK,
                f"{program.who.name}, the user of [{program.table}], may read {facts.config.path}",
                "its tasks then know the passwords and variables of every table",
                f"chmod 0600 {facts.config.path} (tmpfiles.d/multi-user.conf)",
            )
        if program.env_file and (program.env_file.mode or 0) & _OTHERS_READ:
            path = program.env_file.path
            yield error(
                _CHECK,
                f"everybody may read {path}, the env_file of [{program.table}]",
                "such files are for secrets",
                f"chmod 0600 {path}",
            )
    for file in facts.files:
        if (file.mode or 0) & (_OTHERS_READ | _OTHERS_WRITE):
            yield error(
                _CHECK,
                f"everybody may read or write {file.path}",
                "it holds the arguments of tasks; everybody who can write it can run any task",
                f"chmod o-rwx {file.path}",
            )


def _users(facts: ExposureFacts) -> Iterator[Finding]:
    for program in facts.programs:
        if program.who.uid == 0:
            yield error(
                _CHECK,
                f"[{program.table}] runs as root",
                "everybody who can send it a message, or write its code, can do anything to this machine",
                'user = "NAME" in its table, or User= in the unit',
            )
    users = {program.who.uid for program in facts.programs}
    if len(facts.programs) > 1 and len(users) == 1 and 0 not in users:
        name = facts.programs[0].who.name
        yield note(
            _CHECK,
            f"all programs run as {name}",
            "a task of one can read the memory and change the files of the others",
            "multi-user.conf, where their authors do not trust each other",
        )


def _code(facts: ExposureFacts) -> Iterator[Finding]:
    for program in facts.programs:
        for place in program.code:
            mode = place.mode or 0
            if mode & _OTHERS_WRITE and not mode & stat.S_ISVTX:
                who = "everybody"
            elif mode & _GROUP_WRITE and place.gid != 0:
                who = f"group {place.gid}"
            elif place.uid == program.who.uid and program.who.uid:
                who = f"its own user, {program.who.name},"
            else:
                continue
            find = note if who.startswith("its") else error
            yield find(
                _CHECK,
                f"{who} may write {place.path}, from which [{program.table}] imports",
                "code that lies there runs as the program's user at its next start",
                f"chown -R root {place.path} && chmod -R go-w {place.path}",
            )


def _content(facts: ExposureFacts) -> Iterator[Finding]:
    if "pickle" in facts.accept_content:
        yield error(
            _CHECK,
            'accept_content has "pickle"',
            "everybody who can write to the broker can run code in every worker",
            'accept_content = ["json"]',
        )
    if "yaml" in facts.accept_content:
        yield warning(
            _CHECK,
            'accept_content has "yaml"',
            "reading a small message can keep a worker busy for a long time",
            'leave "yaml" out of accept_content, if no producer writes it',
        )


def _servers(facts: ExposureFacts) -> Iterator[Finding]:
    for server in facts.servers:
        if not server.has_password:
            find = note if server.is_here else error
            yield find(
                _CHECK,
                f"{server.key}: {server.place} is used without a password",
                "everybody who reaches it can send any task, and read the messages of others",
                "a user with a password, and access rules (docs/redis.md, docs/rabbitmq.md)",
            )
        if not server.is_here and not server.has_tls:
            yield warning(
                _CHECK,
                f"{server.key}: {server.place} is another host, and the connection is not encrypted",
                "the network in between reads and changes messages, and the password",
                "rediss:// or amqps://",
            )


def _control(facts: ExposureFacts) -> Iterator[Finding]:
    if facts.socket_mode & 0o002:
        yield warning(
            _CHECK,
            f"everybody may connect to the control socket ({facts.socket_mode:04o})",
            "then only the roles of [control] decide, and strangers can use up the connections",
            'socket_mode = "0660", and socket_group',
        )
    if facts.remote_control == "all" and any(not server.is_here for server in facts.servers):
        yield note(
            _CHECK,
            "everybody who reaches the broker can steer the workers (inspect, control, revoke)",
            "also end them or their tasks",
            "access rules of the broker for the queues of remote control (docs/remote-control.md)",
        )


def _memory(facts: ExposureFacts) -> Iterator[Finding]:
    if facts.unit.get("MemoryMax") == "infinity":
        yield warning(
            _CHECK,
            "the unit may use all memory of this machine",
            "one task or message can make the kernel kill other services",
            "MemoryMax=90% in a drop-in",
        )
    for program in facts.programs:
        if not program.is_memory_bounded:
            yield note(
                _CHECK,
                f"[{program.table}] has no limit of memory for a process",
                "one task can use up the memory of all",
                'limits = { data = "4GiB" } in its table',
            )
