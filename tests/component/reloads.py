"""A supervisor over a file of its own, which a test rewrites for a reload."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until

#: The fake programs report once; a test that takes long on a busy machine must not see them replaced as hung.
HEAD = """app = "a:b"
[supervisor]
control_socket = "s"
canary_time = 0
restart_delay = 0.01
heartbeat_timeout = 0
"""


def worker(name: str, mode: str = "good", **keys: object) -> str:
    """Return the table of a worker whose fake program runs in this mode."""
    lines = [f"[worker.{name}]", f'environment = {{ FAKE_MODE = "{mode}" }}']
    return "\n".join([*lines, *(f"{key} = {json.dumps(value)}" for key, value in keys.items()), ""])


def write(directory: Path, *tables: str, head: str = HEAD) -> None:
    """Replace the file as an editor does."""
    (directory / "new").write_text(head + "".join(tables))
    os.replace(directory / "new", directory / "taskd.toml")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningSupervisor]:
    """A daemon with two programs of worker ``a`` and one of ``b``, all ready."""
    write(tmp_path, worker("a", processes=2), worker("b"))
    with daemon(tmp_path, file=True) as made:
        for name in ("a-1", "a-2", "b-1"):
            made.wait_for(name, "READY")
        yield made


def pids(running: RunningSupervisor) -> dict[str, int]:
    """Return the pid of each program that is ready."""
    running.remember()
    rows = running.call("status")["programs"]
    return {row["name"]: row["pid"] for row in rows if row["state"] == "READY"}


def actions(answer: dict[str, Any]) -> dict[str, str]:
    """Return the action that a plan has for each program."""
    return {row["name"]: row["action"] for row in answer["programs"]}


def wait_done(running: RunningSupervisor, outcome: str = "done", generation: int = 2) -> dict[str, Any]:
    """Return the report of a reload when it has ended as it should."""

    def over() -> dict[str, Any] | None:
        reload = running.call("status")["taskd"]["reload"]
        finished = reload["outcome"] != "under way" and reload["generation"] >= generation
        return reload if finished else None

    try:
        ended = wait_until(over, 15.0, "the end of the reload")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{running.log}") from None
    assert ended is not None
    assert ended["outcome"] == outcome, f"{ended}\n{running.log}"
    return ended
