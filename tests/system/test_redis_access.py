"""The ways to a Redis server that operators use, each with a whole daemon on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from celery import Celery
from redis import Redis
from redis.exceptions import RedisError

from tests.proxy import Proxy
from tests.redis_servers import new_server
from tests.services import RedisServer, free_port, program
from tests.system.daemon import ROOT, Daemon, head_over
from tests.system.shop import slow_note
from tests.waiting import wait_until

__all__ = ["new_server"]

Start = Callable[..., Daemon]
WORKER = '[worker.main]\nqueues = ["default"]\npool = "prefork"\nconcurrency = 2\nlease = "3s"\n'


@pytest.fixture
def start(make_daemon: Callable[..., Daemon]) -> Start:
    def start(url: str, tables: str = "") -> Daemon:
        daemon = make_daemon(WORKER + tables, head=head_over(url, url))
        daemon.start()
        return daemon

    return start


def works(daemon: Daemon) -> bool:
    """Tasks run and answer, delayed ones too, and remote control is heard."""
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    assert daemon.app.send_task("shop.flaky", (str(daemon.directory / "flaky"),)).get(timeout=60) == 2
    assert "pong" in daemon.ctl("inspect", "ping", "--timeout", "1.5").stdout
    return True


def test_a_unix_socket(new_server: Callable[..., RedisServer], start: Start) -> None:
    server = new_server("--unixsocket", "redis.sock")

    assert works(start(f"unix://{server.directory}/redis.sock?db=0"))


def test_a_prefix_and_a_database_number_keep_everything_together(
    new_server: Callable[..., RedisServer], start: Start
) -> None:
    server = new_server()
    url = server.url.removesuffix("0") + "5"

    daemon = start(url, '[redis]\nkey_prefix = "shop:"\n')

    assert works(daemon)
    with closing(Redis(port=server.port)) as other, closing(Redis(port=server.port, db=5)) as ours:
        assert other.dbsize() == 0
        assert {key.partition(b":")[0] for key in ours.scan_iter()} == {b"shop"}
    client = Celery("client", broker=url, backend=url)
    client.conf.broker_transport_options = {"global_keyprefix": "shop:"}
    client.conf.result_backend_transport_options = {"global_keyprefix": "shop:"}
    with closing(client):
        assert client.send_task("shop.add", (2, 3), queue="default").get(timeout=60) == 5
        assert list(client.control.inspect(timeout=60, limit=1).ping().values()) == [{"ok": "pong"}]


def test_the_acl_that_the_documentation_prints_is_enough(
    new_server: Callable[..., RedisServer], start: Start
) -> None:
    server = new_server()
    page = (ROOT / "docs" / "redis.md").read_text()
    rules = re.search(r"^    user taskd (.+)$", page, re.MULTILINE)
    assert rules
    with closing(Redis(port=server.port)) as admin:
        admin.execute_command("ACL", "SETUSER", "taskd", *rules[1].split())
        admin.execute_command("ACL", "SETUSER", "default", "off")

    daemon = start(f"redis://taskd:secret@127.0.0.1:{server.port}/0")

    assert works(daemon)
    assert daemon.ctl("queues").stdout
    log = daemon.log.read_text()
    assert "ACL" not in log
    assert "permissions" not in log
    assert "secret" not in log


def test_the_acl_that_the_documentation_prints_for_a_prefix_is_enough(
    new_server: Callable[..., RedisServer], start: Start
) -> None:
    server = new_server()
    page = (ROOT / "docs" / "redis.md").read_text()
    rules = re.search(r"^    user taskd (.+)$", page, re.MULTILINE)
    narrowed = re.search(r"^    … (~shop:\* .+) …$", page, re.MULTILINE)
    assert rules
    assert narrowed
    with closing(Redis(port=server.port)) as admin:
        words = rules[1].replace("~* &*", narrowed[1]).split()
        admin.execute_command("ACL", "SETUSER", "taskd", *words)
        admin.execute_command("ACL", "SETUSER", "default", "off")

    daemon = start(f"redis://taskd:secret@127.0.0.1:{server.port}/0", '[redis]\nkey_prefix = "shop:"\n')

    assert works(daemon)
    assert "permissions" not in daemon.log.read_text()


def test_a_wrong_password_is_said_and_waited_for(
    new_server: Callable[..., RedisServer], make_daemon: Callable[..., Daemon]
) -> None:
    server = new_server("--requirepass", "right")
    url = f"redis://:wrong@127.0.0.1:{server.port}/0"
    daemon = make_daemon(WORKER, head=head_over(url, url))

    daemon.spawn()

    wait_until(lambda: "refuses the user or password" in daemon.log.read_text(), 20)
    assert "wrong@" not in daemon.log.read_text()


def test_tls_with_an_authority_of_our_own(
    new_server: Callable[..., RedisServer], start: Start, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    made = ("-keyout", str(key), "-out", str(certificate), "-days", "2", "-nodes", "-newkey", "rsa:2048")
    subprocess.run([program("openssl"), "req", "-x509", *made, *subject], check=True, capture_output=True)
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file")
    new_server("--tls-port", str(port), *files, str(certificate), "--tls-auth-clients", "no")

    assert works(start(f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}"))


@pytest.mark.slow
def test_a_failover_of_sentinels_is_followed(
    new_server: Callable[..., RedisServer], start: Start, tmp_path: Path
) -> None:
    master = new_server()
    replica = new_server("--replicaof", "127.0.0.1", str(master.port), "--repl-diskless-sync-delay", "0")
    with closing(Redis(port=replica.port)) as client:
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", 20)
    port, settings = free_port(), tmp_path / "sentinel.conf"
    settings.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 3000\n"
    )
    sentinel = subprocess.Popen(
        [program("redis-server"), str(settings), "--sentinel"], stdout=subprocess.DEVNULL
    )
    try:
        with closing(Redis(port=port)) as client:
            wait_until(lambda: knows_replica(client), 20, "the Sentinel's view of the replica")
        daemon = start(f"sentinel://127.0.0.1:{port}/0", '[redis]\nmaster = "shop"\ntimeout = "1s"\n')
        assert works(daemon)
        runs, gate = tmp_path / "runs", tmp_path / "gate"
        held = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
        wait_until(runs.exists, 10)
        with closing(Redis(port=master.port)) as client:
            wait_until(lambda: has_all(client), 10, "the replica has all that the master has")

        master.kill()
        with closing(Redis(port=replica.port)) as client:
            wait_until(lambda: client.info("replication")["role"] == "master", 30)

        notes = daemon.directory / "notes"
        wait_until(lambda: sent(daemon, notes), 20)
        wait_until(lambda: notes.exists() and daemon.row("main-1")["state"] == "READY", 30)
        gate.touch()
        assert held.get(timeout=60) == "held"
    finally:
        sentinel.kill()
        sentinel.wait()


def knows_replica(sentinel: Redis) -> bool:
    try:
        return bool(sentinel.execute_command("SENTINEL", "REPLICAS", "shop"))
    except RedisError:
        return False


def has_all(master: Redis) -> bool:
    told = master.info("replication")
    return bool(told["slave0"]["offset"] == told["master_repl_offset"])


def sent(daemon: Daemon, notes: Path) -> bool:
    """Send one task; False while the client has not found the new master."""
    from taskd.base.errors import TaskdError

    try:
        daemon.app.send_task("shop.note", (str(notes), "after"))
    except TaskdError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.002, 0.02])
def test_a_slow_server_is_served(
    delay_s: float, new_server: Callable[..., RedisServer], start: Start
) -> None:
    with closing(Proxy(new_server().port, delay_s=delay_s)) as proxy:
        daemon = start(f"redis://127.0.0.1:{proxy.port}/0")

        results = daemon.app.send_many([daemon.app.call("shop.add", number, 1) for number in range(200)])

        assert [each.get(timeout=60) for each in results] == [number + 1 for number in range(200)]


def test_a_celery_worker_and_a_taskd_worker_share_a_queue_and_run_each_task_once(
    new_server: Callable[..., RedisServer], start: Start, tmp_path: Path
) -> None:
    server = new_server()
    daemon = start(server.url)
    notes = tmp_path / "notes"
    celery = Celery("client", broker=server.url)
    environment = {**os.environ, "TEST_BROKER": server.url}
    command = [sys.executable, "-m", "celery", "-A", "tests.system.celery_shop", "worker", "-P", "solo"]
    with (tmp_path / "celery.log").open("wb") as log:
        worker = subprocess.Popen(
            [*command, "--without-gossip", "-n", "old@here"],
            env=environment,
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: celery.control.ping(["old@here"], timeout=0.5), 30, "the Celery worker")
        for number in range(300):
            celery.send_task(slow_note.name, (str(notes), f"c{number}"), queue="default")
            daemon.app.send_task(slow_note.name, (str(notes), f"t{number}"))
        wait_until(lambda: notes.exists() and len(notes.read_text().splitlines()) >= 600, 40)

        worker.terminate()
        worker.wait(60)
        lines = notes.read_text().splitlines()
        assert sorted(line.split()[0] for line in lines) == sorted(
            f"{kind}{number}" for kind in "ct" for number in range(300)
        )
        by_celery = sum(line.endswith("celery") for line in lines)
        assert 0 < by_celery < 600
    finally:
        worker.kill()
        worker.wait()
        celery.close()
