"""A bar on standard error for whoever waits for many tasks at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while the block lasts; call what it yields with how many have ended, and of how many."""
    # Imported here: an app that shows no bar does not pay for rich.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        shown = bar.add_task(title, total=total)
        yield lambda done, of: bar.update(shown, completed=done, total=of)
