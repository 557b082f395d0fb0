"""What the demo shows while it runs: a bar on a terminal, plain lines elsewhere, and what beat reports."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Display:
    """Counts the results; a context manager.  ``reports`` is the file that the progress task appends to."""

    def __init__(self, console: Console, total: int, reports: Path) -> None:
        self._console = console
        self._total = total
        self._done = 0
        self._reports = reports
        self._seen = 0
        self._looked = 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("digesting", total=total)

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print one line above the bar."""
        self._console.print(text)

    def advance(self) -> None:
        """One more result is here."""
        self._done += 1
        self._bar.advance(self._task)
        if time.monotonic() - self._looked > 0.2:
            self.look()

    def look(self) -> None:
        """Show what beat's task has written since the last look."""
        self._looked = time.monotonic()
        if not self._reports.exists():
            return
        lines = self._reports.read_text().splitlines()
        for line in lines[self._seen :]:
            left = json.loads(line)
            text = f"beat reports: {left.get('read', 0):,} to read, {left.get('digest', 0):,} to digest"
            if self._console.is_terminal:
                self._bar.update(self._task, description=text)
            else:
                self.say(f"{text}; {self._done:,} of {self._total:,} results here")
        self._seen = len(lines)

    def wait_for_report(self, until: float) -> None:
        """Wait for beat's first report, should the work have been quicker than it."""
        while not self._seen and time.monotonic() < until:
            time.sleep(0.05)
            self.look()
