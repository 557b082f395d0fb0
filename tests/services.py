"""The servers that tests need: private ones on free ports, once a run.  Users' machines may have none.

Without the server's program the test is skipped; where ``CI`` is set that is a failure.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from tests.waiting import wait_until


def program(name: str) -> str:
    """Return the path of a server's program, or skip the test."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/lib/rabbitmq/bin")
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and under CI its tests must run")
    pytest.skip(f"{name} is not installed")


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        """Start it, and wait until it answers."""
        basics = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory))
        quiet = ("--save", "", "--appendonly", "no", "--loglevel", "warning")
        self.process = subprocess.Popen(
            [self._program, *basics, *quiet, *self._options], stdout=subprocess.DEVNULL
        )
        wait_until(self._answers, 20.0, "the private Redis server")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
                connection.sendall(b"PING\r\n")
                return bool(connection.recv(64))
        except OSError:
            return False

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
