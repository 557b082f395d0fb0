"""A private PostgreSQL for the applications of tests: its data and its port are its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.services import free_port, program
from tests.waiting import wait_until

#: Where Debian keeps the programs of the server.
_DEBIAN = "/usr/lib/postgresql/*/bin/initdb"
#: A server does not run as root; Debian's package makes this user.
_USER = "postgres"


class PostgresServer:
    """A private PostgreSQL on a port of the loopback interface; a crash of the machine may cost its data."""

    def __init__(self) -> None:
        self._programs = _programs()
        self._owner = _owner()
        self._directory = Path(tempfile.mkdtemp(prefix="taskd-postgres-"))
        if self._owner:
            account = pwd.getpwnam(self._owner)
            os.chown(self._directory, account.pw_uid, account.pw_gid)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(self._data), "-U", "taskd", "-A", "trust", "-N", "-E", "UTF8")
        self.start()

    @property
    def url(self) -> str:
        """The database that a new server has."""
        return f"postgresql://taskd@127.0.0.1:{self.port}/postgres"

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self._directory)}
        options |= {"port": str(self.port), "fsync": "off", "log_min_messages": "fatal"}
        self.process = subprocess.Popen(
            [
                str(self._programs / "postgres"),
                "-D",
                str(self._data),
                *(f"-c{name}={value}" for name, value in options.items()),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._directory,
            user=self._owner,
        )
        wait_until(self._takes_statements, what=f"the PostgreSQL in {self._directory}")

    def _takes_statements(self) -> bool:
        """Return whether it is ready: after a crash it listens for some time before."""
        assert self.process is not None
        assert self.process.poll() is None, f"postgres ended with {self.process.returncode} while it started"
        asked = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def execute(self, statement: str) -> str:
        """Run a statement; return what ``psql`` prints of it."""
        return self._run(
            "psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", self.url, "-c", statement
        )

    def cut_all(self) -> int:
        """Close the connections of all others, as a failover does; return how many there were."""
        closed = self.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(closed)

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        # Its children notice the end of the parent, and leave.
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def end(self) -> None:
        """End it, and remove what it wrote."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _run(self, name: str, *words: str) -> str:
        done = subprocess.run(
            [str(self._programs / name), *words],
            cwd=self._directory,
            user=self._owner,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{name} exited {done.returncode}: {done.stderr}"
        return done.stdout


def _programs() -> Path:
    found = sorted(Path("/").glob(_DEBIAN.lstrip("/")))
    return found[-1].parent if found else Path(program("initdb")).parent


def _owner() -> str | None:
    return _USER if os.getuid() == 0 else None
