"""Remote-control commands of the app: run on the pool, answered like the worker's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from taskd import App
from taskd.base.ids import node_name
from tests.system.celery_client import celery_app
from tests.system.daemon import Daemon, head_over
from tests.waiting import wait_until

NODE = node_name("main-1")
_HEAD = head_over(app="commanded")


@pytest.fixture
def over(make_daemon: Callable[..., Daemon]) -> Callable[[str], Daemon]:
    def start(pool: str) -> Daemon:
        daemon = make_daemon(f'[worker.main]\npool = "{pool}"\nconcurrency = 1\n', head=_HEAD)
        daemon.start()
        return daemon

    return start


def call(daemon: Daemon, name: str, **arguments: object) -> Any:
    said = daemon.ctl(
        "control", "call", name, json.dumps(arguments), "--json", "--timeout", "10s", check=False
    )
    (reply,) = json.loads(said.stdout)["replies"]
    assert reply["node"] == NODE
    return reply["answer"]


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "gevent", "solo"])
def test_what_a_command_returns_or_raises_is_the_reply(over: Callable[[str], Daemon], pool: str) -> None:
    daemon = over(pool)

    assert call(daemon, "set_price", shop="berlin", price=7) == {"ok": "berlin 7"}
    assert call(daemon, "set_price", shop="b", price=-1) == {
        "error": "ValueError('a price is not negative', -1)"
    }
    assert "TypeError" in str(call(daemon, "set_price", street="x"))
    assert "error" in call(daemon, "odd")
    assert call(daemon, "later") == "later"
    assert call(daemon, "child_pid") in daemon.pids()
    assert daemon.app.send_task("commanded.add", (2, 3)).get(timeout=60) == 5


def test_commands_of_the_app_are_listed_and_are_no_tasks(over: Callable[[str], Daemon]) -> None:
    daemon = over("prefork")

    listed = json.loads(daemon.ctl("inspect", "commands", "--json").stdout)["nodes"][NODE]

    assert listed["set_price"].startswith("control")
    assert listed["child_pid"].startswith("inspect")
    registered = json.loads(daemon.ctl("inspect", "registered", "--json").stdout)["nodes"][NODE]
    assert registered == ["commanded.add", "commanded.hold"]


def test_a_celery_client_calls_them_too(over: Callable[[str], Daemon]) -> None:
    app = celery_app(over("prefork"))

    said = app.control.broadcast("set_price", arguments={"shop": "x"}, reply=True, timeout=60, limit=1)

    assert said == [{NODE: {"ok": "x 1"}}]
    app.close()


def test_a_command_that_takes_too_long_is_ended_and_answered(over: Callable[[str], Daemon]) -> None:
    daemon = over("prefork")

    assert "within 0.5 s" in str(call(daemon, "sleep_long"))

    assert daemon.app.send_task("commanded.add", (2, 3)).get(timeout=60) == 5


def test_a_command_that_kills_its_child_is_answered_and_costs_only_that(
    over: Callable[[str], Daemon],
) -> None:
    daemon = over("prefork")

    assert call(daemon, "die") == {"error": "the command did not end by itself: ChildLost"}

    assert daemon.app.send_task("commanded.add", (2, 3)).get(timeout=60) == 5
    assert daemon.dead_letters() == []


def test_without_a_free_slot_a_command_gives_up_and_the_worker_still_answers(
    over: Callable[[str], Daemon], tmp_path: Path
) -> None:
    daemon = over("prefork")
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    held = daemon.app.send_task("commanded.hold", (str(runs), str(gate)))
    wait_until(runs.exists, 10)

    assert "no slot was free" in str(call(daemon, "sleep_long"))

    assert json.loads(daemon.ctl("inspect", "ping", "--json").stdout)["nodes"] == {NODE: {"ok": "pong"}}
    gate.touch()
    held.get(timeout=60)


@pytest.mark.parametrize("name", ["ping", "dump_active", "two words", ""])
def test_a_name_that_is_taken_or_none_is_refused_when_the_app_is_imported(name: str) -> None:
    with pytest.raises(ValueError, match="control_command"):
        App().control_command(name)(lambda: None)


def test_a_command_without_a_time_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout"):
        App().inspect_command(timeout=0)(print)


def test_a_decorator_without_parentheses_is_refused() -> None:
    with pytest.raises(TypeError, match="parentheses"):
        App().control_command(cast("Any", print))
