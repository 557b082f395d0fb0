"""Second processes for the tests: a script that talks in lines, and is killed at the end."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType

from taskd.host import procinfo

_PRELUDE = """
import os, select, sys
from taskd.brokers.factory import connect as connect_broker
from taskd.protocol.delivery import Ack, Outgoing, Requeue
from taskd.config.stores import Stores
from taskd.base.lifecycle import Deadline
from taskd.results.base import StoredResult
from taskd.results.factory import connect as connect_results

def say(text):
    print(text, flush=True)

def hear():
    return sys.stdin.readline().strip()
"""


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    return not procinfo.is_alive(pid)


class Script:
    """A Python script in a process of its own; a context manager that leaves no process behind."""

    def __init__(self, code: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PRELUDE + code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> str:
        """Return the next line that the script said; empty at its end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, text: str) -> None:
        """Send the script a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def rest(self) -> list[str]:
        """Return all lines until the script's end."""
        assert self.process.stdout is not None
        return self.process.stdout.read().split()

    def kill(self) -> None:
        """Kill with SIGKILL, and wait until the process is gone."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Script:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # what was not read any more
