"""The servers that tests need: private ones on free ports, once a run.  Users' machines may have none.

Without the server's program the test is skipped; where ``CI`` is set that is a failure.
"""

from __future__ import annotations

import atexit
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count, pairwise
from pathlib import Path

import pytest

from tests.waiting import wait_until

_numbers = count(1)


#: The first holds RabbitMQ's own scripts; those of Debian in /usr/sbin change the user.
_PATH = "/usr/lib/rabbitmq/bin:" + os.environ.get("PATH", "") + ":/usr/sbin"


def program(name: str) -> str:
    """Return the path of a server's program, or skip the test."""
    found = shutil.which(name, path=_PATH)
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and under CI its tests must run")
    pytest.skip(f"{name} is not installed")


#: Below those that the kernel gives to outgoing connections: one of them may take a port that was free.
_OWN_PORTS = range(10_000, 32_000)


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses; no other test is given it during this run."""
    while True:
        port = random.choice(_OWN_PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            with socket.socket(socket.AF_UNIX) as mark:
                # Tells the tests of other processes; the kernel forgets the name with this process.
                mark.bind(f"\0a port of taskd's tests: {port}")
                mark.detach()
            return port


#: After which a server that starts is asked anew.
_LOOK_S = 2.0
#: Where a server takes connections: a port of this host, or a path.
Address = int | Path


def connected(address: Address) -> socket.socket:
    """Connect to a server of this host."""
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), _LOOK_S)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_LOOK_S)
    try:
        connection.connect(str(address))
    except OSError:
        connection.close()
        raise
    return connection


def wait_until_up(
    process: subprocess.Popen[bytes], hello: bytes, welcome: re.Pattern[bytes], addresses: Iterable[Address]
) -> None:
    """Wait until the server answers at the first address, and takes connections at each of the others.

    A server opens its listeners one after the other, so that one says nothing about the next.
    """
    first, *others = addresses

    def is_up() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"{process.args!r} ended with {process.returncode} while it started")
        try:
            with connected(first) as connection:
                connection.sendall(hello)
                answer = connection.recv(64)
            for each in others:
                connected(each).close()
        except OSError:
            return False
        return bool(welcome.match(answer))

    wait_until(is_up, what=f"{process.args!r}, which is to listen at {[first, *others]},")


@contextmanager
def port_without_listener() -> Iterator[int]:
    """Yield a port at which every connection is refused, for as long as the block lasts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


class RedisServer:
    """A private Redis that keeps nothing on disk."""

    def __init__(self, *options: str) -> None:
        self._program = program("redis-server")
        self.directory = Path(tempfile.mkdtemp(prefix="taskd-redis-"))
        self._options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Database 0 of this server."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers and listens wherever its options say."""
        basics = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory))
        quiet = ("--save", "", "--appendonly", "no", "--loglevel", "warning")
        self.process = subprocess.Popen(
            [self._program, *basics, *quiet, *self._options], stdout=subprocess.DEVNULL
        )
        # A wish for a password is an answer, too; one that still reads its data is not up.
        welcome = re.compile(rb"\+PONG|-NOAUTH")
        wait_until_up(self.process, b"PING\r\n", welcome, (self.port, *self._others()))

    def _others(self) -> Iterator[Address]:
        for option, value in pairwise(self._options):
            if option == "--tls-port":
                yield int(value)
            elif option == "--unixsocket":
                yield self.directory / value

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it, and remove what it wrote."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


@cache
def _shared_redis() -> RedisServer:
    server = RedisServer("--databases", "10000")
    atexit.register(server.end)
    return server


def redis_url() -> str:
    """Return the URL of a server that all tests of this process share; keys need names of their own."""
    return _shared_redis().url


_databases = count(1)


def redis_database() -> str:
    """Return the URL of an empty database that nobody else is given."""
    return f"{redis_url().rpartition('/')[0]}/{next(_databases)}"


#: Such as ``listeners.ssl.default = 127.0.0.1:5671``.
_MORE_LISTENERS = re.compile(r"^listeners\.\w+\.\w+ *= *(?:\S*:)?(\d+)$", re.MULTILINE)


class RabbitServer:
    """A private RabbitMQ: its node, its data and its ports are its own.  Starting takes some seconds.

    ``settings`` are lines for its ``rabbitmq.conf``.
    """

    def __init__(self, settings: str = "") -> None:
        self._settings = settings
        self._program = program("rabbitmq-server")
        self._ctl = program("rabbitmqctl")
        self._directory = Path(tempfile.mkdtemp(prefix="taskd-rabbit-"))
        self.port = free_port()
        self._node = f"taskd-{self.port}@localhost"
        home = self._directory / "home"
        home.mkdir()
        self._environment = {
            **os.environ,
            "HOME": str(home),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_PORT": str(free_port()),
            # So that its port mapper lets itself be ended while it still knows the node.
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
            "RABBITMQ_MNESIA_BASE": str(self._directory / "data"),
            "RABBITMQ_LOG_BASE": str(self._directory / "log"),
            "RABBITMQ_PID_FILE": str(self._directory / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._directory / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self._directory / "rabbitmq"),
            "RABBITMQ_CTL_ERL_ARGS": "+sbwt none",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +S 1:1",
        }
        (self._directory / "plugins").write_text("[].")
        (self._directory / "rabbitmq.conf").write_text(f"loopback_users = none\n{settings}")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The virtual host ``/`` of this server."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start it, and wait until it answers and listens wherever its settings say."""
        self.process = subprocess.Popen(
            [self._program],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # It speaks AMQP when it answers a wrong header with its own.
        others = (int(port) for port in _MORE_LISTENERS.findall(self._settings))
        hello, welcome = b"AMQP\x00\x00\x00\x00", re.compile(b"AMQP")
        wait_until_up(self.process, hello, welcome, (self.port, *others))

    def control(self, *words: str) -> str:
        """Run ``rabbitmqctl``."""
        command = [self._ctl, "--node", self._node, "--quiet", *words]
        done = subprocess.run(command, env=self._environment, check=True, capture_output=True, timeout=60)
        return done.stdout.decode()

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """End it and its port mapper, and remove what it wrote."""
        self.kill()
        subprocess.run(
            [program("epmd"), "-port", self._environment["ERL_EPMD_PORT"], "-kill"],
            env=self._environment,
            check=False,
            capture_output=True,
        )
        shutil.rmtree(self._directory, ignore_errors=True)


@cache
def rabbit_server() -> RabbitServer:
    """Return the server that all tests of this process share."""
    server = RabbitServer()
    atexit.register(server.end)
    return server


_spare: list[str] = []
#: Virtual hosts made at a time: rabbitmqctl takes a second to start.
_AT_ONCE = 25
_MAKE_HOSTS = """
lists:foreach(fun(Number) ->
  Name = list_to_binary("v" ++ integer_to_list(Number)),
  rabbit_vhost:add(Name, <<"tests">>),
  rabbit_auth_backend_internal:set_permissions(<<"guest">>, Name, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
end, lists:seq({first}, {last})).
"""


def rabbit_url() -> str:
    """Return the URL of a virtual host of its own, on a server that all tests of this process share."""
    server = rabbit_server()
    if not _spare:
        first = next(_numbers) * _AT_ONCE
        server.control("eval", _MAKE_HOSTS.format(first=first, last=first + _AT_ONCE - 1))
        _spare.extend(f"v{number}" for number in range(first, first + _AT_ONCE))
    return f"{server.url[:-1]}{_spare.pop()}"
