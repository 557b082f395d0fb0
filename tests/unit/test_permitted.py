"""What a worker refuses of remote control, by its configuration."""

from __future__ import annotations

from typing import Any

import pytest

from taskd.consumer.commands.permitted import Permitted
from taskd.protocol.commands import COMMANDS, CommandKind, task_of
from taskd.sending.options import TaskOptions

TASKS = {
    name: TaskOptions(name=name)
    for name in (task_of(CommandKind.INSPECT, "look"), task_of(CommandKind.CONTROL, "do"))
}
NAMES = {spec.name: spec.kind for spec in COMMANDS} | {"look": CommandKind.INSPECT, "do": CommandKind.CONTROL}


def answers(remote_control: str) -> dict[str, Any]:
    table = {name: lambda **arguments: {"ok": arguments} for name in NAMES}
    permitted = Permitted(table, TASKS, remote_control)
    return {name: permitted[name](from_node="x", revoked=["id"]) for name in permitted}


@pytest.mark.parametrize(
    ("remote_control", "allowed"),
    [("all", set(CommandKind)), ("read", {CommandKind.INSPECT}), ("off", set())],
)
def test_each_command_is_carried_out_or_refused_by_its_kind(
    remote_control: str, allowed: set[CommandKind]
) -> None:
    for name, answer in answers(remote_control).items():
        assert ("ok" in answer) == (NAMES[name] in allowed), name
        if "error" in answer:
            assert f'remote_control = "{remote_control}"' in answer["error"]


def test_who_may_only_look_tells_nobody_what_is_revoked() -> None:
    assert answers("read")["hello"] == {"ok": {"from_node": "x"}}
    assert "revoked" in answers("all")["hello"]["ok"]
