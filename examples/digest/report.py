"""What the demo prints at the end: totals, the largest and slowest files, duplicates, failures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tasks import Digest, Measures

#: Characters of a path in a table.
WIDTH = 40


@dataclass
class Outcome:
    """Everything that came back, by path."""

    measured: dict[str, Measures] = field(default_factory=dict)
    crunched: dict[str, Digest] = field(default_factory=dict)
    #: (task, path) -> the failure as it was recorded.
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    lost: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def jobs(self) -> int:
        """How many jobs ended, well or not."""
        return len(self.measured) + len(self.crunched) + len(self.failed)


def duplicates(crunched: Mapping[str, Digest], measured: Mapping[str, Measures]) -> list[list[str]]:
    """Return the groups of files with equal content, the most wasteful first; empty files do not count."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path, digest in crunched.items():
        if path in measured and measured[path]["size_bytes"]:
            groups[digest["sha256"]].append(path)
    several = [sorted(paths) for paths in groups.values() if len(paths) > 1]
    return sorted(several, key=lambda paths: -measured[paths[0]]["size_bytes"] * (len(paths) - 1))


def show(console: Console, root: Path, outcome: Outcome) -> None:
    """Print the tables."""
    console.print()
    console.print(_totals(outcome))
    measured, crunched = outcome.measured, outcome.crunched
    console.print(_files(root, outcome, "Largest", lambda path: measured[path]["size_bytes"]))
    console.print(_files(root, outcome, "Slowest to digest", lambda path: crunched[path]["seconds"]))
    console.print(_duplicates(root, outcome))
    if outcome.failed:
        console.print(_failures(root, outcome.failed))


def _totals(outcome: Outcome) -> Table:
    table = Table(title="Totals", show_header=False, title_justify="left")
    size = sum(found["size_bytes"] for found in outcome.measured.values())
    packed = sum(found["packed_bytes"] for found in outcome.crunched.values())
    rows: Sequence[tuple[str, str]] = [
        ("files", f"{len(outcome.crunched):,}"),
        ("bytes", f"{size:,}"),
        ("lines", f"{sum(found['lines'] for found in outcome.measured.values()):,}"),
        ("words", f"{sum(found['words'] for found in outcome.measured.values()):,}"),
        ("gzip ratio", f"{packed / size:.1%} of the size" if size else "-"),
        ("jobs", f"{outcome.jobs:,} in {outcome.seconds:.1f} s"),
        (
            "throughput",
            f"{outcome.jobs / outcome.seconds:,.0f} jobs/s, {size / outcome.seconds / 1e6:,.1f} MB/s",
        ),
        (
            "run again after the kill",
            f"{sum(found['deliveries'] > 1 for found in outcome.crunched.values())}",
        ),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _files(root: Path, outcome: Outcome, title: str, weight: Callable[[str], float]) -> Table:
    """Return the five files of the greatest weight."""
    table = Table(title=title, title_justify="left")
    table.add_column("file", no_wrap=True)
    for column in ("bytes", "lines", "words", "gzip", "ms"):
        table.add_column(column, justify="right")
    table.add_column("sha256")
    both = sorted(outcome.measured.keys() & outcome.crunched.keys())
    for path in sorted(both, key=weight, reverse=True)[:5]:
        found, digest = outcome.measured[path], outcome.crunched[path]
        table.add_row(
            _short(root, path),
            f"{found['size_bytes']:,}",
            f"{found['lines']:,}",
            f"{found['words']:,}",
            f"{digest['packed_bytes'] / max(found['size_bytes'], 1):.0%}",
            f"{digest['seconds'] * 1000:,.0f}",
            digest["sha256"][:8],
        )
    return table


def _duplicates(root: Path, outcome: Outcome) -> Table:
    groups = duplicates(outcome.crunched, outcome.measured)
    wasted = sum(outcome.measured[paths[0]]["size_bytes"] * (len(paths) - 1) for paths in groups)
    noun = "group" if len(groups) == 1 else "groups"
    title = f"Duplicates: {len(groups)} {noun}, {wasted:,} bytes could be saved"
    table = Table("copies", "bytes each", "files", title=title, title_justify="left")
    for paths in groups[:5]:
        names = ", ".join(_short(root, path) for path in paths[:3]) + (" ..." if len(paths) > 3 else "")
        table.add_row(str(len(paths)), f"{outcome.measured[paths[0]]['size_bytes']:,}", names)
    return table


def _failures(root: Path, failed: Mapping[tuple[str, str], str]) -> Table:
    title = f"Failures: {len(failed)} jobs, each after its retries"
    table = Table("task", "file", title=title, title_justify="left")
    table.add_column("reason", overflow="fold")
    for (task, path), reason in sorted(failed.items())[:10]:
        table.add_row(task, _short(root, path), reason)
    return table


def _short(root: Path, path: str) -> str:
    """Return the end of the path below ``root``, where the name is."""
    text = str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path
    return text if len(text) <= WIDTH else "…" + text[-WIDTH + 1 :]
