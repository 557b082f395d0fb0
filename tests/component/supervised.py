"""Start ``fake_daemon.py`` in a directory of the test, and end it with everything below it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskd.base.errors import ControlError
from taskd.host import procinfo
from taskd.supervisor.control.client import ControlClient
from tests.waiting import LEAST_S, wait_until

_DAEMON = str(Path(__file__).with_name("fake_daemon.py"))
_CREDENTIALS = struct.Struct("3i")


@dataclass
class RunningSupervisor:
    """A running supervisor and what the tests ask of it."""

    directory: Path
    process: subprocess.Popen[bytes]
    survivors: set[int] = field(default_factory=set)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def socket_path(self) -> str:
        return str(self.directory / "s")

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def call(self, method: str, **params: object) -> Any:
        with ControlClient(self.socket_path) as client:
            return client.call(method, params, timeout_s=LEAST_S)

    def row(self, name: str) -> dict[str, Any]:
        rows = self.call("status")["programs"]
        return next(row for row in rows if row["name"] == name)

    def wait_for(self, name: str, state: str, timeout_s: float = 60.0) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            try:
                row = self.row(name)
            except ControlError:
                return None  # the socket is not there yet
            return row if row["state"] == state else None

        try:
            row = wait_until(there, timeout_s, f"{name} {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None
        assert row is not None
        self.remember()
        return row

    def remember(self) -> None:
        """Note all processes below the daemon, so that the end of the test finds who is left."""
        self.survivors.update(procinfo.descendants(self.pid))

    def signal(self, number: signal.Signals) -> None:
        self.remember()
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 60.0) -> int:
        return self.process.wait(max(timeout_s, LEAST_S))

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def left_behind(self) -> list[int]:
        return [pid for pid in self.survivors if procinfo.is_alive(pid)]


@contextlib.contextmanager
def daemon(
    directory: Path,
    environ: dict[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    *,
    stderr: int | None = None,
    **settings: object,
) -> Iterator[RunningSupervisor]:
    """Run a daemon; whatever is left of it at the end is killed.  ``stderr`` is the file ``log`` if None."""
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, _DAEMON, str(directory), json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log if stderr is None else stderr,
            env={**os.environ, **(environ or {})},
            pass_fds=pass_fds,
        )
    running = RunningSupervisor(directory, process)
    try:
        yield running
    finally:
        running.remember()
        process.kill()
        process.wait()
        for pid in running.left_behind():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class NotifySocket:
    """What systemd would read: datagrams with the pid of their sender."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(self.path)

    def receive(self, timeout_s: float = 60.0) -> tuple[str, int]:
        """Return the next message and its sender's pid; fails the test when none comes."""
        self._socket.settimeout(timeout_s)
        data, ancillary, _, _ = self._socket.recvmsg(4096, 256)
        pid, _, _ = _CREDENTIALS.unpack(ancillary[0][2])
        return data.decode(), pid

    def receive_until(self, start: str, timeout_s: float = 60.0) -> list[tuple[str, int]]:
        """Return the messages up to the first that begins with ``start``."""
        messages = [self.receive(timeout_s)]
        while not messages[-1][0].startswith(start):
            messages.append(self.receive(timeout_s))
        return messages

    def pending(self) -> list[str]:
        """Return what has come so far, without waiting."""
        self._socket.settimeout(0.0)
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self._socket.recv(4096).decode())
        return messages

    def close(self) -> None:
        self._socket.close()
