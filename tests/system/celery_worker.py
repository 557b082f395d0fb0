"""A real Celery worker as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.system.daemon import ROOT
from tests.waiting import wait_until


class CeleryWorker:
    """``celery worker`` with the pool ``solo`` over tests/system/their_app.py."""

    def __init__(self, url: str, name: str, log: Path, *options: str, prefix: tuple[str, ...] = ()) -> None:
        self.log = log
        program = str(Path(sys.executable).with_name("celery"))
        command = [
            *prefix,
            program,
            "-A",
            "tests.system.their_app",
            "worker",
            "-P",
            "solo",
            "-l",
            "INFO",
            "-n",
            name,
        ]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, *options],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                env={**os.environ, "TEST_BROKER": url},
            )

    def wait_ready(self) -> None:
        """Wait until it consumes."""
        self.wait_for("ready.")

    def wait_for(self, text: str) -> None:
        """Wait until its log has a text."""
        wait_until(lambda: text in self.log.read_text(), 40, f"{text!r} of a Celery worker")

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, and wait until it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(60)


def celery(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one of Celery's own programs to its end."""
    program = str(Path(sys.executable).with_name("celery"))
    return subprocess.run(
        [program, "-A", "tests.system.celery_tools", *words],
        cwd=ROOT,
        env={**os.environ, "TEST_BROKER": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def nodes(reply: dict[str, Any] | None) -> list[str]:
    """Return the names before the @ of those who answered."""
    return sorted(name.partition("@")[0] for name in reply or {})
