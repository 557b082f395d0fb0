"""One worker process without a supervisor, as the supervisor starts it: to signal it at any moment."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from taskd import App
from taskd.base.program_signals import HELD
from taskd.brokers.base import Broker
from taskd.brokers.desk import QueueInfo
from taskd.brokers.factory import connect
from taskd.config.load import load
from taskd.config.transfer import CONFIG_FD_VARIABLE, into_descriptor
from taskd.protocol.status import STATUS_FD_VARIABLE, StatusLine, decode_line
from tests.system.daemon import ROOT
from tests.waiting import LEAST_S, wait_until

_FILE = """
app = "{app}"
broker = "sqlite://broker/broker.db"
results = "sqlite://results.db"
[supervisor]
stop_timeout = "{stop_timeout}"
[sqlite]
busy_timeout = "500ms"
[worker.main]
pool = "{pool}"
concurrency = {concurrency}
{keys}
"""
_ENTRIES = {"gevent": "taskd.worker.gevent_entry", "eventlet": "taskd.worker.eventlet_entry"}


def _drain(pipe: IO[bytes]) -> None:
    with pipe:
        while pipe.read(1 << 20):
            pass


class LoneWorker:
    """A worker over a broker of its own; ``end`` leaves nothing behind."""

    def __init__(
        self,
        directory: Path,
        *,
        pool: str = "prefork",
        keys: str = "",
        app: str = "tests.system.shop:app",
        stop_timeout: str = "20s",
        concurrency: int = 2,
    ) -> None:
        self.directory = directory
        self.store = directory / "broker"
        self.store.mkdir()
        file = directory / "taskd.toml"
        words = {"pool": pool, "keys": keys, "app": app, "stop_timeout": stop_timeout}
        file.write_text(_FILE.format(concurrency=concurrency, **words))
        self.log = directory / "worker.log"
        self.app = App(config=str(file))
        self._config = load(str(file))
        self._module = _ENTRIES.get(pool, "taskd.worker")
        self._status = b""
        self._status_fd = -1
        self.pool = pool
        #: Standard output goes into a pipe that is read and forgotten, instead of the log.
        self.drained = False
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start the process and return at once."""
        config_fd = into_descriptor(replace(self._config))
        self._status = b""
        self._status_fd, writing = os.pipe()
        os.set_blocking(self._status_fd, False)
        environment = {**os.environ, CONFIG_FD_VARIABLE: str(config_fd), STATUS_FD_VARIABLE: str(writing)}
        former = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self._module, "main-1"],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE if self.drained else log,
                stderr=log,
                pass_fds=(config_fd, writing),
            )
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
        os.close(config_fd)
        os.close(writing)
        if self.process.stdout is not None:
            threading.Thread(target=_drain, args=(self.process.stdout,), daemon=True).start()

    def said(self) -> list[StatusLine]:
        """Every line on the status descriptor so far."""
        while True:
            try:
                data = os.read(self._status_fd, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            self._status += data
        return [decode_line(line) for line in self._status.split(b"\n")[:-1]]

    def until_said(self, kind: type[StatusLine], times: int = 1, timeout_s: float = 20.0) -> None:
        """Wait until the worker has said lines of this kind so often."""
        wait_until(
            lambda: sum(isinstance(line, kind) for line in self.said()) >= times,
            timeout_s,
            f"{kind.__name__}; the log:\n{self.log.read_text()}",
        )

    def until_logged(self, text: str, timeout_s: float = 20.0) -> None:
        """Wait for a text in the log."""
        wait_until(lambda: text in self.log.read_text(), timeout_s, f'"{text}" in the log')

    def signal(self, *numbers: signal.Signals) -> None:
        """Send signals, one after the other."""
        assert self.process is not None
        for number in numbers:
            self.process.send_signal(number)

    def wait_exit(self, timeout_s: float = 60.0) -> int:
        """Wait for the end; return the exit status."""
        assert self.process is not None
        try:
            return self.process.wait(max(timeout_s, LEAST_S))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end; the log:\n{self.log.read_text()}") from None

    def queue(self) -> QueueInfo | None:
        """The default queue, None before it was made."""
        with closing(self.broker()) as broker:
            return next((queue for queue in broker.desk().queues() if queue.name == "default"), None)

    def broker(self) -> Broker:
        """The broker, for a look."""
        return connect(self._config.broker, self._config.stores)

    @contextmanager
    def broker_locked(self) -> Iterator[None]:
        """Nobody can write to the broker meanwhile: to the worker it is away, and comes back as it was."""
        with closing(sqlite3.connect(self.store / "broker.db", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def end(self) -> None:
        """End what still runs."""
        self.app.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._status_fd >= 0:
            os.close(self._status_fd)
            self._status_fd = -1
