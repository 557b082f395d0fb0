"""Revocation by id, by name and by stamped header, pending and running, over restarts."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskd.base import exit_codes
from taskd.base.ids import new_task_id, node_name
from taskd.protocol.delivery import Outgoing
from taskd.sending.result import AsyncResult
from tests.system.daemon import ONE_PREFORK_WORKER, Daemon
from tests.waiting import wait_until

TWO_WORKERS = """
[worker.main]
queues = ["default"]
pool = "threads"
concurrency = 1
processes = 2
"""


def inspect(daemon: Daemon, method: str, program: str = "main-1") -> Any:
    node = node_name(program)
    return json.loads(daemon.ctl("inspect", method, "-d", node, "--json").stdout)["nodes"][node]


def hold(daemon: Daemon, tmp_path: Path) -> tuple[AsyncResult[object], Path]:
    """Start a task that runs until its gate opens."""
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    result = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(runs.exists, 10)
    return result, gate


def send_stamped(
    daemon: Daemon, task: str, args: list[object], stamps: dict[str, object]
) -> AsyncResult[object]:
    """Send a task as Celery does whose canvas was stamped."""
    task_id = new_task_id()
    headers = {"lang": "py", "task": task, "id": task_id, "stamped_headers": list(stamps), "stamps": stamps}
    message = Outgoing(
        routing_key="default",
        headers=json.dumps(headers).encode(),
        body=json.dumps([args, {}, {}]).encode(),
        task_id=task_id,
    )
    with closing(daemon.broker()) as broker, closing(broker.publisher()) as publisher:
        publisher.publish([message])
    return daemon.app.result(task_id)


def assert_revoked(result: AsyncResult[object], how: str = "revoked") -> None:
    with pytest.raises(Exception, match=how):
        result.get(timeout=60)


def test_what_is_revoked_while_no_worker_is_up_does_not_run(
    daemon_over: Callable[[str], Daemon], tmp_path: Path
) -> None:
    daemon = daemon_over(ONE_PREFORK_WORKER)
    amqp = daemon.app.config.broker.startswith("amqp")
    daemon.stop()
    notes = str(tmp_path / "notes")
    by_code, by_command, _ = (daemon.app.send_task("shop.note", (notes, each)) for each in "abc")

    kept = by_code.revoke()
    done = daemon.ctl("revoke", by_command.id, check=False)

    if amqp:
        assert (kept, done.returncode) == (False, exit_codes.UNAVAILABLE)
        assert "keeps no revocations" in done.stderr
        return
    assert (kept, done.returncode) == (True, exit_codes.OK)
    assert "every worker that starts within three hours" in done.stdout
    daemon.start()
    assert_revoked(by_code)
    assert_revoked(by_command)
    wait_until((tmp_path / "notes").exists, 20)
    assert (tmp_path / "notes").read_text().split() == ["c"]


def test_code_ends_a_task_that_runs(daemon_over: Callable[[str], Daemon], tmp_path: Path) -> None:
    daemon = daemon_over(ONE_PREFORK_WORKER)
    result, _ = hold(daemon, tmp_path)

    daemon.app.revoke([result, "unknown"], terminate=True, signal="KILL")

    assert_revoked(result, "terminated")


def test_a_restarted_worker_remembers_what_was_revoked(
    daemon_over: Callable[[str], Daemon], tmp_path: Path
) -> None:
    daemon = daemon_over(ONE_PREFORK_WORKER)
    if daemon.app.config.broker.startswith("amqp"):
        pytest.skip("RabbitMQ keeps nothing for workers: only those that are up tell the others")
    result = daemon.app.send_task("shop.note", (str(tmp_path / "notes"), "ran"), queue="later")
    daemon.ctl("revoke", result.id)
    daemon.ctl("restart", "main-1")
    daemon.wait_ready()

    assert inspect(daemon, "revoked") == [result.id]
    daemon.ctl("control", "add-consumer", "later")
    assert_revoked(result)
    assert not (tmp_path / "notes").exists()


def test_a_worker_that_was_away_knows_what_the_others_were_told(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(TWO_WORKERS)
    daemon.start()
    daemon.ctl("stop", "main-2")
    daemon.ctl("revoke", "id-1", "id-2", "-d", "main-1")
    daemon.ctl("start", "main-2")
    daemon.wait_ready()

    assert sorted(inspect(daemon, "revoked", "main-2")) == ["id-1", "id-2"]


def test_a_revoked_name_keeps_every_task_of_it_from_running_until_that_is_undone(daemon: Daemon) -> None:
    daemon.ctl("revoke", "--name", "shop.add")

    assert_revoked(daemon.app.send_task("shop.add", (2, 3)))
    assert isinstance(daemon.app.send_task("shop.pid").get(timeout=60), int)
    assert inspect(daemon, "revoked-names") == ["shop.add"]

    daemon.ctl("revoke", "--name", "shop.add", "--undo")
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_what_is_undone_stays_undone_over_a_restart(daemon: Daemon) -> None:
    daemon.ctl("revoke", "--name", "shop.add")
    daemon.ctl("revoke", "--name", "shop.add", "--undo")
    daemon.ctl("restart", "main-1")
    daemon.wait_ready()

    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_running_tasks_of_a_name_are_terminated_on_request(daemon: Daemon, tmp_path: Path) -> None:
    result, _ = hold(daemon, tmp_path)

    said = daemon.ctl("revoke", "--name", "shop.hold", "--terminate").stdout

    assert result.id in said
    assert_revoked(result, "terminated")
    assert len((tmp_path / "runs").read_text().split()) == 1


def test_a_running_task_is_left_alone_without_terminate(daemon: Daemon, tmp_path: Path) -> None:
    result, gate = hold(daemon, tmp_path)

    daemon.ctl("revoke", "--name", "shop.hold")
    gate.touch()

    assert result.get(timeout=60) == "held"


def test_a_stamped_header_revokes_pending_tasks_and_no_others(daemon: Daemon) -> None:
    daemon.ctl("revoke", "--header", "tenant=acme")

    assert_revoked(send_stamped(daemon, "shop.add", [2, 3], {"tenant": "acme"}))
    assert_revoked(send_stamped(daemon, "shop.add", [2, 3], {"tenant": ["other", "acme"]}))
    assert send_stamped(daemon, "shop.add", [2, 3], {"tenant": "other"}).get(timeout=60) == 5


def test_a_stamped_header_terminates_running_tasks(daemon: Daemon, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    args: list[object] = [str(runs), str(tmp_path / "gate")]
    result = send_stamped(daemon, "shop.hold", args, {"tenant": "acme"})
    wait_until(runs.exists, 10)

    said = daemon.ctl("revoke", "--header", "tenant=acme", "--terminate", "--signal", "KILL").stdout

    assert result.id in said
    assert_revoked(result, "terminated")


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "gevent"])
def test_a_running_task_is_asked_to_end_before_it_is_signalled(
    make_daemon: Callable[..., Daemon], tmp_path: Path, pool: str
) -> None:
    daemon = stubborn(make_daemon, pool)
    notes = tmp_path / "notes"
    result = daemon.app.send_task("stubborn.polite", (str(notes), str(tmp_path / "gate")))
    wait_until(notes.exists, 10)

    daemon.ctl("revoke", result.id, "--terminate", "--soft", "60s")

    assert_revoked(result, "terminated")
    assert notes.read_text().split()[1:] == ["asked"]
    wait_until(lambda: not queue_of(daemon), 10)


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "gevent"])
def test_a_deaf_task_is_asked_signalled_and_killed_in_this_order(
    make_daemon: Callable[..., Daemon], tmp_path: Path, pool: str
) -> None:
    daemon = stubborn(make_daemon, pool)
    notes, gate = tmp_path / "notes", tmp_path / "gate"
    result = daemon.app.send_task("stubborn.deaf", (str(notes), str(gate)))
    wait_until(notes.exists, 10)

    daemon.ctl("revoke", result.id, "--terminate", "--soft", "200ms", "--term", "200ms")

    assert_revoked(result, "terminated")
    came = notes.read_text().split()[1:]
    # A plain task on asyncio runs in a thread, which is given up after the first step that it withstood.
    assert came[:2] == (["asked", "signalled"] if pool != "asyncio" else ["asked"])
    gate.touch()
    assert daemon.app.send_task("stubborn.polite", (str(notes), str(gate))).get(timeout=60) == "held"


def test_the_file_may_say_how_long_each_step_lasts(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = stubborn(make_daemon, "prefork", 'terminate_soft_timeout = "100ms"\nterminate_timeout = "100ms"')
    notes = tmp_path / "notes"
    result = daemon.app.send_task("stubborn.deaf", (str(notes), str(tmp_path / "gate")))
    wait_until(notes.exists, 10)

    daemon.ctl("revoke", result.id, "--terminate")

    assert_revoked(result, "terminated")
    assert notes.read_text().split()[1:] == ["asked", "signalled"]


def stubborn(make_daemon: Callable[..., Daemon], pool: str, keys: str = "") -> Daemon:
    app = 'app = "tests.system.stubborn_app:app"'
    daemon = make_daemon(f'[worker.main]\npool = "{pool}"\nconcurrency = 1\n{app}\n{keys}\n')
    daemon.start()
    return daemon


def queue_of(daemon: Daemon) -> int:
    with closing(daemon.broker()) as broker:
        return sum(queue.ready + queue.claimed for queue in broker.desk().queues())


@pytest.mark.parametrize(
    "words",
    [
        ["--header", "tenant"],
        ["x", "--undo", "--terminate"],
        ["x", "--signal", "KILL"],
        ["x", "--soft", "5s"],
    ],
)
def test_wrong_words_are_refused(make_daemon: Callable[..., Daemon], words: list[str]) -> None:
    assert make_daemon().ctl("revoke", *words, check=False).returncode == 64
