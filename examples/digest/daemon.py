"""The daemon of the example as a user runs it: ``taskd`` and ``taskctl``, nothing of the library."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

CONFIG = Path(__file__).with_name("taskd.toml")
PROGRAMS = Path(sys.executable).parent  # where the environment has taskd and taskctl


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


class Daemon:
    """One ``taskd`` in the foreground, as a child process; its log goes to a file in the state directory."""

    def __init__(self, state: Path) -> None:
        self.log = state / "taskd.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "taskd", "--config", CONFIG], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def taskctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``taskctl`` with these words."""
        command = [str(PROGRAMS / "taskctl"), "--config", str(CONFIG), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Ask for the status until all programs are READY."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise DemoError(f"taskd ended with status {self.process.returncode}; its log:\n{self.tail()}")
            asked = self.taskctl("status", "--json")
            if asked.returncode == 0:
                programs = json.loads(asked.stdout)["programs"]
                if programs and all(program["state"] == "READY" for program in programs):
                    return
            time.sleep(0.02)
        raise DemoError(f"taskd was not ready within {timeout_s:.0f} s; its log:\n{self.tail()}")

    def pool_child(self, worker: str) -> tuple[int, str]:
        """Return the pid of a pool child and what it does: one at work if one is found, else an idle one.

        With few files the work may be over before anybody can look.
        """
        for _ in range(10):
            for tasks in self.inspect("active", worker):
                for task in tasks:
                    return int(task["worker_pid"]), "at work"
        for stats in self.inspect("stats", worker):
            return int(stats["pool"]["processes"][0]), "idle just then"
        raise DemoError(f"{worker} did not answer; the log:\n{self.tail()}")

    def inspect(self, question: str, worker: str) -> list[Any]:
        """Return the answers to ``taskctl inspect``."""
        asked = self.taskctl("inspect", question, "--json", "--destination", worker)
        if asked.returncode != 0:
            raise DemoError(f"taskctl inspect {question} failed: {asked.stderr}")
        return list(json.loads(asked.stdout)["nodes"].values())

    def said(self, words: str) -> list[str]:
        """Return the lines of the log that contain these words."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if words in line]

    def stop(self, timeout_s: float = 30.0) -> list[str]:
        """Send TERM, wait for the end, and return what was not as it should be."""
        family = self.family()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return [f"taskd did not end within {timeout_s:.0f} s of TERM"]
        problems = [] if status == 0 else [f"taskd ended with status {status}; expected 0"]
        _, alive = psutil.wait_procs(family, timeout=2.0)
        return problems + [f"process {left.pid} ({left.name()}) is left over" for left in alive]

    def family(self) -> list[psutil.Process]:
        """Return the daemon and all processes below it."""
        try:
            daemon = psutil.Process(self.process.pid)
            return [daemon, *daemon.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def end(self) -> None:
        """Leave nothing behind, whatever happened before."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def tail(self) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])
