"""Which part of the way to a command a service's user cannot pass."""

from __future__ import annotations

import stat

import pytest

from taskd.cli.doctor.facts import FilePlace, Who
from taskd.cli.doctor.reach import SHIPPED, unreachable

TASKD = Who("taskd", 990, frozenset({990}))
_MODES = {"/opt/closed": 0o700, "/opt/taskd/bin/plain": 0o644, "/gone": None}


def place(path: str) -> FilePlace:
    mode = _MODES.get(path, 0o755)
    return FilePlace(path, None if mode is None else stat.S_IFREG | mode)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/opt/taskd/bin/python", []),
        (
            "/root/.pyenv/bin/python",
            ["/root/.pyenv/bin/python lies below /root, which the unit hides (ProtectHome=yes)"],
        ),
        ("/opt/closed/bin/python", ["taskd may not pass /opt/closed"]),
        ("/opt/taskd/bin/plain", ["taskd may not execute /opt/taskd/bin/plain"]),
        ("/gone/python", ["/gone does not exist"]),
    ],
)
def test_what_stands_in_the_way_is_named(path: str, said: list[str]) -> None:
    assert list(unreachable([path], TASKD, SHIPPED, place)) == said


def test_what_the_unit_shows_is_not_hidden() -> None:
    properties = {"ProtectHome": "read-only", "PrivateTmp": "no"}

    assert list(unreachable(["/root/python", "/tmp/python"], TASKD, properties, place)) == []
