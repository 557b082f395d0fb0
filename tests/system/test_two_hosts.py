"""Two hosts on one Redis: network namespaces with an address each, joined by a virtual cable."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.services import RedisServer
from tests.system.celery_client import CELERYS_WARNINGS, close_celery
from tests.system.daemon import ROOT, Daemon, head_over
from tests.waiting import wait_until

WORKER = """
[worker.{name}]
queues = ["shared"]
pool = "threads"
concurrency = 2
lease = "2s"
events = true
"""

pytestmark = CELERYS_WARNINGS


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Host:
    """A network namespace that reaches this machine by one address, and nothing else."""

    def __init__(self, number: int) -> None:
        self.name = f"taskd-{os.getpid()}-{number}"
        self._cable = f"tk{os.getpid() % 100_000}{number}"
        self.gateway = f"10.{100 + os.getpid() % 100}.{number}.1"
        own = f"10.{100 + os.getpid() % 100}.{number}.2"
        ip("netns", "add", self.name)
        try:
            ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            ip("addr", "add", f"{self.gateway}/24", "dev", self._cable)
            ip("link", "set", self._cable, "up")
            for words in (("addr", "add", f"{own}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
                ip("-n", self.name, *words)
        except BaseException:
            self.end()
            raise

    def cut(self) -> None:
        """Pull the cable."""
        ip("link", "set", self._cable, "down")

    def end(self) -> None:
        """Take it down; the cable by itself too, for the namespace lives on while a process is in it."""
        subprocess.run(["ip", "link", "del", self._cable], check=False, capture_output=True)
        ip("netns", "del", self.name)


@contextmanager
def host(number: int) -> Iterator[Host]:
    try:
        made = Host(number)
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", b"") or b""
        pytest.skip(f"no network namespaces here: {detail.decode().strip() or error}")
    try:
        yield made
    finally:
        made.end()


class HostedDaemon(Daemon):
    """A daemon on such a host."""

    host: Host

    def spawn(self, *, limits: str = "", stdin: int | None = None) -> None:
        """Start it there."""
        place = ["ip", "netns", "exec", self.host.name]
        command = [*place, sys.executable, "-m", "taskd", "--config", str(self.file)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=stdin, stdout=log, stderr=log)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the program ip")
    started = RedisServer("--bind", "0.0.0.0", "--protected-mode", "no")
    yield started
    started.end()


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    app = Celery("client", broker=server.url, backend=server.url)
    yield app
    close_celery(app)


@pytest.fixture
def pair(server: RedisServer, tmp_path: Path) -> Iterator[tuple[HostedDaemon, HostedDaemon]]:
    made = []
    with host(1) as first, host(2) as second:
        for name, place in (("east", first), ("west", second)):
            directory = tmp_path / name
            directory.mkdir()
            url = f"redis://{place.gateway}:{server.port}/0"
            made.append(
                HostedDaemon(directory, WORKER.format(name=name), head=head_over(url, url, app="wired_app"))
            )
            made[-1].host = place
            made[-1].start()
        try:
            yield made[0], made[1]
        finally:
            for each in made:
                each.end()


def names(reply: dict[str, Any] | None) -> list[str]:
    return sorted(node.partition("@")[0] for node in reply or {})


def node_of(client: Any, name: str) -> str:
    found = client.control.inspect(timeout=60, limit=2).ping() or {}
    return str(next(node for node in found if node.startswith(name)))


def test_remote_control_and_revocation_reach_both_hosts(
    pair: tuple[HostedDaemon, HostedDaemon], client: Any
) -> None:
    assert names(client.control.inspect(timeout=60, limit=2).ping()) == ["east-1", "west-1"]

    client.control.revoke("id-1", reply=True, limit=2, timeout=60)

    assert list(client.control.inspect(timeout=60, limit=2).revoked().values()) == [["id-1"], ["id-1"]]


@pytest.mark.slow
def test_a_host_that_is_cut_off_loses_its_tasks_to_the_other(
    pair: tuple[HostedDaemon, HostedDaemon], client: Any, tmp_path: Path
) -> None:
    east, west = pair
    client.control.cancel_consumer("shared", destination=[node_of(client, "west")], reply=True, timeout=60)
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    held = client.send_task("wired.hold", (str(runs), str(gate)), queue="shared")
    wait_until(runs.exists, 20)
    client.control.add_consumer("shared", destination=[node_of(client, "west")], reply=True, timeout=60)

    east.host.cut()

    wait_until(lambda: len(runs.read_text().split()) == 2, 30)
    assert int(runs.read_text().split()[1]) == west.pid_of("west-1")
    gate.touch()
    assert held.get(timeout=60) == "held"


def test_gossip_sees_a_host_go(pair: tuple[HostedDaemon, HostedDaemon]) -> None:
    east, west = pair
    wait_until(lambda: "is there" in west.log.read_text() or "is there" in east.log.read_text(), 20)

    east.signal(signal.SIGTERM)

    wait_until(lambda: "gossip: east-1@" in west.log.read_text() and "has left" in west.log.read_text(), 20)
