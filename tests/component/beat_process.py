"""The program of beat in a process of its own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from taskd.config.schema import Config
from taskd.config.transfer import CONFIG_FD_VARIABLE, Handover
from taskd.protocol.status import STATUS_FD_VARIABLE, StatusLine, decode_line


class Program:
    """One running ``python -m taskd.beat`` and this end of its status pipe."""

    def __init__(self, config: Config, module: str = "taskd.beat") -> None:
        self.status_fd, writing = os.pipe()
        os.set_blocking(self.status_fd, False)
        self.handover = Handover(config)
        config_fd = self.handover.fd
        environment: Mapping[str, str] = {
            **os.environ,
            CONFIG_FD_VARIABLE: str(config_fd),
            STATUS_FD_VARIABLE: str(writing),
            "TASKD_SUPERVISOR_PID": str(os.getpid()),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            pass_fds=(config_fd, writing),
            env=environment,
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        self._log = b""
        os.close(writing)
        self._rest = b""
        self.lines: list[StatusLine] = []

    def logged(self, text: str, times: int = 1) -> bool:
        """Whether its log has a text so many times by now."""
        assert self.process.stderr is not None
        self._log += self.process.stderr.read() or b""
        return self._log.count(text.encode()) >= times

    def has_line(self, kind: type[StatusLine]) -> bool:
        """Whether a line of the kind has arrived; waits a little for more."""
        readable, _, _ = select.select([self.status_fd], [], [], 0.1)
        if readable:
            *whole, self._rest = (self._rest + os.read(self.status_fd, 65536)).split(b"\n")
            self.lines += [decode_line(line) for line in whole]
        return any(isinstance(line, kind) for line in self.lines)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        os.close(self.status_fd)
        self.handover.close()

    def tell(self, config: Config) -> None:
        """Hand a changed configuration over, as the supervisor does at a reload."""
        self.handover.add(config)
        self.process.send_signal(signal.SIGHUP)


@pytest.fixture
def started() -> Iterator[list[Program]]:
    """Programs of beat that a test has started; they end with it."""
    programs: list[Program] = []
    yield programs
    for program in programs:
        program.end()
