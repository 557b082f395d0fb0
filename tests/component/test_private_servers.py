"""The servers that tests own are up when all that was asked of them answers, and not before."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests import services
from tests.proxy import Proxy
from tests.services import RabbitServer, RedisServer, connected, free_port

ROOT = Path(__file__).parents[2]
#: Opens its first listener, answers there a few times, and only then opens the others, as a slow server does.
LATE_SERVER = """#!{python}
import os, re, socket, sys
from itertools import pairwise

def listen(address):
    made = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    made.listen()
    return made

if "RABBITMQ_NODE_PORT" in os.environ:
    first, answer = os.environ["RABBITMQ_NODE_PORT"], b"AMQP"
    settings = open(os.environ["RABBITMQ_CONFIG_FILE"] + ".conf").read()
    others = [("127.0.0.1", int(port)) for port in re.findall(r"127.0.0.1:(\\d+)", settings)]
    early, late = answer, answer
else:
    options = dict(pairwise(sys.argv))
    os.chdir(options["--dir"])
    first, early, late = options["--port"], b"-LOADING it reads", b"+PONG"
    others = [("127.0.0.1", int(options["--tls-port"])), options["--unixsocket"]]

def answer(text):
    connection, _ = server.accept()
    with connection:
        connection.recv(64)
        connection.sendall(text)

server = listen(("127.0.0.1", int(first)))
for _ in range(3):
    answer(early)
opened = []
for other in others:
    answer(late)
    opened.append(listen(other))
while True:
    answer(late)
"""


@pytest.fixture
def late_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Servers whose further listeners open late, under the names of those that the tests start."""
    for name in ("redis-server", "rabbitmq-server", "rabbitmqctl", "epmd"):
        program = tmp_path / name
        program.write_text(LATE_SERVER.replace("{python}", sys.executable))
        program.chmod(0o755)
    monkeypatch.setattr(services, "_PATH", str(tmp_path))
    return tmp_path


def test_a_rabbitmq_is_up_when_its_last_listener_is(late_programs: Path) -> None:
    ports = [free_port(), free_port()]
    (late_programs / "epmd").write_text("#!/bin/sh\n")
    settings = "listeners.ssl.default = 127.0.0.1:{}\nlisteners.tcp.other = 127.0.0.1:{}\n"

    server = RabbitServer(settings.format(*ports))

    try:
        for port in ports:
            connected(port).close()
    finally:
        server.end()


def test_a_redis_is_up_when_it_has_read_its_data_and_its_last_listener_is(late_programs: Path) -> None:
    port = free_port()

    server = RedisServer("--tls-port", str(port), "--unixsocket", "redis.sock")

    try:
        connected(port).close()
        connected(server.directory / "redis.sock").close()
        with connected(server.port) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(64) == b"+PONG"
    finally:
        server.end()


def test_a_server_that_ends_while_it_starts_is_not_waited_for(late_programs: Path) -> None:
    (late_programs / "redis-server").write_text("#!/bin/sh\nexit 7\n")

    with pytest.raises(AssertionError, match="ended with 7 while it started"):
        RedisServer()


def test_no_port_is_given_to_the_tests_of_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import random; from tests import services; services.random = random.Random(7)"
    code += "; print(*(services.free_port() for _ in range(5)), flush=True); input()"
    monkeypatch.setattr(services, "random", random.Random(7))
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = {int(port) for port in other.stdout.readline().split()}

        ours = {free_port() for _ in range(5)}

        assert (len(theirs), ours & theirs) == (5, set())
        other.communicate("\n")


def test_a_proxy_finds_a_server_that_was_away() -> None:
    port = free_port()
    with closing(Proxy(port)) as proxy:
        with connected(proxy.port) as early:
            assert early.recv(1) == b""
        with socket.create_server(("127.0.0.1", port)) as server, connected(proxy.port) as late:
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(b"x")
                assert late.recv(1) == b"x"
