"""taskctl and kombu's own pidbox client against a real worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskd.base import exit_codes
from taskd.base.ids import node_name
from taskd.protocol.exceptions import TimeLimitExceeded
from tests.system.daemon import ONE_PREFORK_WORKER, Daemon
from tests.waiting import wait_until

NODE = node_name("main-1")


def inspect(daemon: Daemon, method: str) -> Any:
    """Return the node's reply."""
    return json.loads(daemon.ctl("inspect", method, "--json").stdout)["nodes"][NODE]


def hold(daemon: Daemon, tmp_path: Path) -> tuple[str, Path]:
    """Start a task that runs until its gate opens; return its id and the gate."""
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    result = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(runs.exists, 10)
    return result.id, gate


def test_ping_is_answered(daemon: Daemon) -> None:
    assert inspect(daemon, "ping") == {"ok": "pong"}


def test_active_shows_the_running_task_with_its_arguments(daemon: Daemon, tmp_path: Path) -> None:
    task_id, gate = hold(daemon, tmp_path)

    (active,) = inspect(daemon, "active")

    assert active["id"] == task_id
    assert active["name"] == "shop.hold"
    assert active["args"] == [str(tmp_path / "runs"), str(gate)]
    assert active["worker_pid"] == int((tmp_path / "runs").read_text())
    gate.touch()


def test_registered_and_stats_tell_what_the_worker_is(daemon: Daemon) -> None:
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5

    stats = inspect(daemon, "stats")

    assert isinstance(stats, dict)
    assert stats["total"] == {"shop.add": 1}
    assert stats["pid"] == daemon.pid_of("main-1")
    assert len(stats["pool"]["processes"]) == 2
    assert "shop.add" in inspect(daemon, "registered")


def test_a_revoked_task_that_waits_does_not_run(daemon: Daemon, tmp_path: Path) -> None:
    result = daemon.app.send_task("shop.note", (str(tmp_path / "notes"), "ran"), queue="later")

    daemon.ctl("revoke", result.id)

    assert result.id in inspect(daemon, "revoked")
    daemon.ctl("control", "add-consumer", "later")
    with pytest.raises(Exception, match="revoked"):
        daemon.app.result(result.id).get(timeout=60)
    assert not (tmp_path / "notes").exists()


def test_a_running_task_is_terminated_on_request(daemon: Daemon, tmp_path: Path) -> None:
    task_id, _ = hold(daemon, tmp_path)

    daemon.ctl("revoke", task_id, "--terminate")

    with pytest.raises(Exception, match="terminated"):
        daemon.app.result(task_id).get(timeout=60)
    assert inspect(daemon, "active") == []
    assert len((tmp_path / "runs").read_text().split()) == 1


def test_send_result_queues_and_purge_work_from_the_command_line(daemon: Daemon) -> None:
    sent = daemon.ctl("send", "shop.add", "[2, 3]", "--wait")
    assert "5" in sent.stdout

    daemon.ctl("stop", "main-1")
    daemon.ctl("send", "shop.add", "[1, 1]")
    queues = json.loads(daemon.ctl("queues", "--json").stdout)["queues"]
    assert [(queue["name"], queue["ready"]) for queue in queues] == [("default", 1)]
    daemon.ctl("purge", "default", "--yes")

    assert json.loads(daemon.ctl("queues", "--json").stdout)["queues"][0]["ready"] == 0


def test_kombus_own_pidbox_client_is_answered(daemon: Daemon) -> None:
    from kombu.pidbox import Mailbox

    from taskd.brokers.kombu_client.connection import kombu_connection
    from taskd.config.load import load

    config = load(str(daemon.file))
    with kombu_connection(config.broker, config.stores) as connection:
        mailbox = Mailbox("celery", type="fanout")(connection)
        replies = mailbox.call([NODE], "ping", timeout=60)

    assert replies == [{NODE: {"ok": "pong"}}]


def call(daemon: Daemon, method: str, **arguments: object) -> Any:
    """Ask the node with kombu's own pidbox client; return its answer."""
    from kombu.pidbox import Mailbox

    from taskd.brokers.kombu_client.connection import kombu_connection
    from taskd.config.load import load

    config = load(str(daemon.file))
    with kombu_connection(config.broker, config.stores) as connection:
        (reply,) = Mailbox("celery", type="fanout")(connection).call([NODE], method, arguments, timeout=60)
    return reply[NODE]


def test_report_conf_and_clock_tell_what_the_worker_is_and_no_secret(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon(ONE_PREFORK_WORKER + 'environment = { TOKEN = "hush" }\n')
    daemon.start()

    report, conf = call(daemon, "report")["ok"], call(daemon, "conf")

    assert "PreforkPool" in report
    assert "queues default" in report
    assert conf["app"] == "tests.system.shop:app"
    assert conf["workers"]["main"]["environment"] == {"TOKEN": "********"}
    assert conf["broker"] == "********"
    assert "hush" not in json.dumps(conf)
    assert call(daemon, "clock")["clock"] < call(daemon, "clock")["clock"]


def test_a_queue_can_be_added_and_cancelled_while_the_worker_runs(daemon: Daemon) -> None:
    assert call(daemon, "add_consumer", queue="extra") == {"ok": "add consumer extra"}
    assert [queue["name"] for queue in call(daemon, "active_queues")] == ["default", "extra"]
    assert daemon.app.send_task("shop.add", (2, 3), queue="extra").get(timeout=60) == 5

    assert call(daemon, "cancel_consumer", queue="extra") == {"ok": "no longer consuming from extra"}
    waiting = daemon.app.send_task("shop.add", (2, 3), queue="extra")
    assert daemon.app.send_task("shop.add", (1, 1)).get(timeout=60) == 2
    assert not waiting.ready()


def test_a_queue_with_options_that_the_worker_cannot_declare_is_refused(daemon: Daemon) -> None:
    assert "max_length" in call(daemon, "add_consumer", queue="extra", max_length=7)["error"]
    assert "headers" in call(daemon, "add_consumer", queue="extra", exchange_type="headers")["error"]
    assert [queue["name"] for queue in call(daemon, "active_queues")] == ["default"]


def test_the_pool_grows_and_shrinks_on_request(daemon: Daemon) -> None:
    def slots() -> int:
        return len(call(daemon, "stats")["pool"]["processes"])

    assert call(daemon, "pool_grow", n=2) == {"ok": "pool will grow"}
    wait_until(lambda: slots() == 4, 10)

    assert call(daemon, "pool_shrink", n=3) == {"ok": "pool will shrink"}
    wait_until(lambda: slots() == 1, 10)

    assert "at least one" in call(daemon, "pool_shrink")["error"]
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_a_pool_of_one_slot_does_not_pretend_to_grow(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon('[worker.main]\nqueues = ["default"]\npool = "solo"\n')
    daemon.start()

    assert call(daemon, "pool_grow") == {"error": "pool_grow is not supported by a solo pool"}


def test_a_time_limit_can_be_set_for_runs_to_come(daemon: Daemon, tmp_path: Path) -> None:
    assert call(daemon, "time_limit", task_name="shop.nothing", hard=1) == {"error": "unknown task"}
    assert "soft=-1" in call(daemon, "time_limit", task_name="shop.hold", soft=-1)["error"]

    said = call(daemon, "time_limit", task_name="shop.hold", hard=0.2)
    task_id, _ = hold(daemon, tmp_path)

    assert said == {"ok": "time limits set successfully"}
    with pytest.raises(TimeLimitExceeded):
        daemon.app.result(task_id).get(timeout=60)


def test_a_rate_limit_is_set_and_lifted_with_celerys_replies(daemon: Daemon) -> None:
    assert call(daemon, "rate_limit", task_name="shop.add", rate_limit="10/m") == {
        "ok": "new rate limit set successfully"
    }
    assert call(daemon, "rate_limit", task_name="shop.add", rate_limit=0) == {
        "ok": "rate limit disabled successfully"
    }
    assert call(daemon, "rate_limit", task_name="shop.nothing", rate_limit="1/s") == {"error": "unknown task"}
    refused = call(daemon, "rate_limit", task_name="shop.add", rate_limit="often")["error"]
    assert refused.startswith("Invalid rate limit string: ValueError(")


def test_revocations_have_celerys_replies(daemon: Daemon) -> None:
    assert call(daemon, "revoke", task_id="id-1") == {"ok": "tasks {'id-1'} flagged as revoked"}
    assert call(daemon, "revoke", task_id="id-2", terminate=True) == {"ok": "terminate: tasks unknown"}
    said = call(daemon, "revoke_by_stamped_headers", headers={"tenant": ["a", "b"]})
    assert said == {"ok": "headers {'tenant': ['a', 'b']} flagged as revoked, but not terminated"}
    said = call(daemon, "revoke_by_stamped_headers", headers=["tenant=a"], terminate=True)
    assert said == {"ok": "headers {'tenant': 'a'} were not terminated"}
    assert "ValueError" in call(daemon, "revoke_by_stamped_headers", headers=["tenant"])["error"]

    hello = call(daemon, "hello", from_node="other@host", revoked=["id-3"])
    assert hello["revoked"] == ["id-1", "id-2", "id-3"]
    assert call(daemon, "hello", from_node=NODE, revoked=[]) is None


def test_a_draining_worker_still_answers(daemon: Daemon, tmp_path: Path) -> None:
    import signal

    _, gate = hold(daemon, tmp_path)
    daemon.signal(signal.SIGTERM)
    daemon.wait_draining()

    assert inspect(daemon, "ping") == {"ok": "pong"}
    gate.touch()
    assert daemon.wait_exit() == 0


def test_a_task_that_no_worker_knows_is_sent_by_force_alone(daemon: Daemon) -> None:
    refused = daemon.ctl("send", "shop.ad", "[1, 2]", check=False)
    forced = daemon.ctl("send", "shop.ad", "[1, 2]", "--force")

    assert refused.returncode == exit_codes.USAGE
    assert "did you mean shop.add?" in refused.stderr
    assert daemon.app.result(forced.stdout.strip()).id
    assert daemon.ctl("send", "shop.add", "[1, 2]", "--wait", "10s").stdout.strip() == "3"


def test_a_worker_may_be_called_as_it_was_under_celery(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon('[worker.main]\nconcurrency = 1\nnode = "celery@%h"\n')
    daemon.start()
    name = node_name("celery")
    daemon.app.send_task("shop.fail", ("ink", 1))
    # In the log a worker has one name, that of its program, also where its children write.
    wait_until(lambda: f"{NODE}: task=shop.fail" in daemon.log.read_text(), 10)

    assert json.loads(daemon.ctl("inspect", "ping", "-d", "main-1", "--json").stdout)["nodes"] == {
        name: {"ok": "pong"}
    }
    assert json.loads(daemon.ctl("inspect", "ping", "-d", name, "--json").stdout)["nodes"] == {
        name: {"ok": "pong"}
    }
