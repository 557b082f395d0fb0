"""Each way that leads to too much is found by ``doctor --security``, and nothing is said of a closed one."""

from __future__ import annotations

import stat
from dataclasses import replace
from typing import Any

import pytest

from taskd.cli.doctor.facts import FilePlace, Who
from taskd.cli.doctor.findings import FindingSeverity
from taskd.cli.doctor.security import ExposureFacts, ProgramFacts, ServerFacts, diagnose_security

ROOT = Who("root", 0)
TASKD = Who("taskd", 990, frozenset({990}))
MAILER = Who("mailer", 991, frozenset({991, 990}))
CODE = FilePlace("/srv/shop", stat.S_IFDIR | 0o755, 0, 0)
MAIL = ProgramFacts("worker.mail", TASKD, [CODE])
SERVER = ServerFacts("broker", "rediss://mq.example:6379", is_here=False, has_tls=True, has_password=True)
GOOD = ExposureFacts(
    daemon=TASKD,
    config=FilePlace("/etc/taskd.toml", stat.S_IFREG | 0o640, 0, 990),
    programs=[MAIL],
    files=[FilePlace("/var/lib/taskd/broker.db", stat.S_IFREG | 0o600, 990, 990)],
    servers=[],
    accept_content=["json"],
    unit={"MemoryMax": "7730941132"},
)


def program(**changes: Any) -> ExposureFacts:
    return replace(GOOD, programs=[replace(MAIL, **changes)])


def directory(mode: int, uid: int = 0, gid: int = 0) -> list[FilePlace]:
    return [FilePlace("/srv/shop", stat.S_IFDIR | mode, uid, gid)]


def test_where_every_way_is_closed_that_is_said() -> None:
    (finding,) = diagnose_security(GOOD)

    assert finding.severity is FindingSeverity.OK


@pytest.mark.parametrize(
    ("facts", "severity", "said"),
    [
        (
            replace(GOOD, config=FilePlace("/etc/taskd.toml", stat.S_IFREG | 0o644)),
            FindingSeverity.WARNING,
            "everybody may read /etc/taskd.toml",
        ),
        (
            replace(GOOD, daemon=ROOT, programs=[replace(MAIL, who=MAILER)]),
            FindingSeverity.ERROR,
            "mailer, the user of [worker.mail], may read /etc/taskd.toml",
        ),
        (
            program(env_file=FilePlace("/etc/env", stat.S_IFREG | 0o644)),
            FindingSeverity.ERROR,
            "everybody may read /etc/env",
        ),
        (
            replace(GOOD, files=[FilePlace("/b.db", stat.S_IFREG | 0o644)]),
            FindingSeverity.ERROR,
            "everybody may read or write /b.db",
        ),
        (program(who=ROOT), FindingSeverity.ERROR, "[worker.mail] runs as root"),
        (replace(GOOD, programs=[MAIL, MAIL]), FindingSeverity.NOTE, "all programs run as taskd"),
        (program(code=directory(0o777)), FindingSeverity.ERROR, "everybody may write /srv/shop"),
        (program(code=directory(0o775, gid=990)), FindingSeverity.ERROR, "group 990 may write /srv/shop"),
        (
            program(code=directory(0o755, uid=990)),
            FindingSeverity.NOTE,
            "its own user, taskd, may write /srv/shop",
        ),
        (
            replace(GOOD, accept_content=["json", "pickle"]),
            FindingSeverity.ERROR,
            'accept_content has "pickle"',
        ),
        (
            replace(GOOD, accept_content=["json", "yaml"]),
            FindingSeverity.WARNING,
            'accept_content has "yaml"',
        ),
        (
            replace(GOOD, remote_control="off", servers=[replace(SERVER, has_password=False)]),
            FindingSeverity.ERROR,
            "without a password",
        ),
        (
            replace(GOOD, remote_control="off", servers=[replace(SERVER, has_tls=False)]),
            FindingSeverity.WARNING,
            "is not encrypted",
        ),
        (replace(GOOD, servers=[SERVER]), FindingSeverity.NOTE, "can steer the workers"),
        (
            replace(GOOD, socket_mode=0o666),
            FindingSeverity.WARNING,
            "everybody may connect to the control socket (0666)",
        ),
        (
            replace(GOOD, unit={"MemoryMax": "infinity"}),
            FindingSeverity.WARNING,
            "all memory of this machine",
        ),
        (program(is_memory_bounded=False), FindingSeverity.NOTE, "has no limit of memory"),
    ],
)
def test_an_open_way_is_found(facts: ExposureFacts, severity: FindingSeverity, said: str) -> None:
    (finding,) = diagnose_security(facts)

    assert finding.severity is severity
    assert said in finding.what
    assert finding.why
    assert finding.remedy
