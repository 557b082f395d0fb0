"""A real daemon in a temporary directory, as its user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from taskd import App
from taskd.brokers.base import Broker
from taskd.brokers.factory import connect
from taskd.config.load import load
from taskd.host import procinfo
from tests.waiting import LEAST_S, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent

HEAD = """
app = "tests.system.shop:app"
broker = "sqlite://broker.db"
results = "sqlite://results.db"
[supervisor]
control_socket = "taskd.sock"
state_directory = "."
stop_timeout = "20s"
"""


def head_over(
    broker: str = "sqlite://broker.db", results: str = "sqlite://results.db", *, app: str = "shop"
) -> str:
    """The top of a file for a daemon over these stores, with the tasks of a module of this tier."""
    head = HEAD.replace("sqlite://broker.db", broker).replace("sqlite://results.db", results)
    return head.replace("tests.system.shop:", f"tests.system.{app}:")


#: Serves the default queue of our clients and of Celery's; a killed worker's claims are free again soon.
ONE_WORKER_FOR_CELERY = """
[worker.main]
queues = ["default", "celery"]
pool = "prefork"
concurrency = 2
lease = "3s"
"""

ONE_PREFORK_WORKER = """
[worker.main]
queues = ["default"]
pool = "prefork"
concurrency = 2
"""


def _checked(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    if done.returncode != 0:
        raise AssertionError(f"taskctl {done.args} exited {done.returncode}: {done.stdout}{done.stderr}")
    return done


class Daemon:
    """One configuration, and the process when it runs.  ``end`` leaves nothing behind."""

    def __init__(self, directory: Path, tables: str = ONE_PREFORK_WORKER, head: str = HEAD) -> None:
        self.directory = directory
        self.file = directory / "taskd.toml"
        self.file.write_text(head + tables)
        self.log = directory / "taskd.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._app: App | None = None

    @property
    def app(self) -> App:
        """A client of this daemon."""
        if self._app is None:
            self._app = App(config=str(self.file))
        return self._app

    def broker(self) -> Broker:
        """The broker, for a look at its queues."""
        config = load(str(self.file))
        return connect(config.broker, config.stores)

    def spawn(self, *, limits: str = "", stdin: int | None = None) -> None:
        """Start the process; ``limits`` are words of a shell that run first, such as ``ulimit -f 10``."""
        command = [sys.executable, "-m", "taskd", "--config", str(self.file)]
        if limits:
            command = ["sh", "-c", f'{limits}; exec "$@"', "sh", *command]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=stdin, stdout=log, stderr=log)

    def start(self, *, timeout_s: float = 20.0, stdin: int | None = None) -> None:
        """Start the process and wait until every program is READY."""
        self.spawn(stdin=stdin)
        self.wait_ready(timeout_s)

    def wait_ready(self, timeout_s: float = 20.0) -> None:
        """Wait until every program is READY."""
        wait_until(
            lambda: (rows := self.rows()) and all(row["state"] == "READY" for row in rows),
            timeout_s,
            f"readiness; the log:\n{self.log.read_text()}",
        )

    def wait_draining(self) -> None:
        """Wait until a worker takes nothing new; DRAINING in the status says that it was told to."""
        wait_until(lambda: "draining: " in self.log.read_text(), what="a worker that drains")

    def ctl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the program ``taskctl`` on this daemon's file, in the environment as it is now."""
        done = subprocess.run(
            [str(Path(sys.executable).with_name("taskctl")), "--config", str(self.file), *words],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
        return _checked(done) if check else done

    def check(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``taskd --check`` on this daemon's file."""
        command = [sys.executable, "-m", "taskd", "--check", *words, "--config", str(self.file)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)

    def rows(self) -> list[dict[str, object]]:
        """The programs of ``taskctl status``; empty while the daemon is not up."""
        from taskd.base.errors import TaskdError
        from taskd.supervisor.control.client import ControlClient

        try:
            answer = ControlClient(str(self.directory / "taskd.sock")).call("status", {}, timeout_s=60.0)
        except TaskdError:
            return []
        assert isinstance(answer, dict)
        return list(answer["programs"])

    def row(self, name: str) -> dict[str, object]:
        """One program of ``taskctl status``."""
        return next(row for row in self.rows() if row["name"] == name)

    def pid_of(self, name: str) -> int:
        """The pid of one program."""
        return int(str(self.row(name)["pid"]))

    def pids(self) -> list[int]:
        """The supervisor and everything below it."""
        assert self.process is not None
        return [self.process.pid, *procinfo.descendants(self.process.pid)]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait_exit(self, timeout_s: float = 60.0) -> int:
        """Wait for the supervisor's end; return its exit status."""
        assert self.process is not None
        return self.process.wait(max(timeout_s, LEAST_S))

    def stop(self) -> int:
        """Stop warmly; return the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_exit()

    def end(self) -> None:
        """End whatever still runs, for the next test's sake."""
        if self._app is not None:
            self._app.close()
        if self.process is not None and self.process.poll() is None:
            pids = self.pids()
            self.process.kill()
            self.process.wait()
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def dead_letters(self, state: str = "dead") -> list[dict[str, object]]:
        """What ``taskctl dlq list --json`` prints of a state."""
        return list(json.loads(self.ctl("dlq", "list", "--state", state, "--json").stdout)["letters"])
