"""An ``AppSource`` over one app, and what it told.  Not a test module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from taskd.base import clock
from taskd.base.loop import Loop
from taskd.beat.app_process import AppPlace
from taskd.beat.app_source import AppSource
from taskd.beat.stores.base import Declared


class Follower:
    """Follows the schedule of the app ``path`` in a directory."""

    def __init__(self, directory: Path, path: str, scheduler: str = "") -> None:
        self.loop = Loop()
        self.told: list[Declared] = []
        place = AppPlace(path, str(directory), scheduler=scheduler)
        self.source = AppSource(self.loop, [place], self.told.append, again_s=0.5)
        self.source.start()

    @property
    def last(self) -> Declared:
        """The latest reading."""
        return self.told[-1] if self.told else Declared()

    def until(self, condition: Callable[[], object]) -> None:
        """Serve the loop until then."""
        deadline = clock.monotonic() + 60
        while not condition():
            assert clock.monotonic() < deadline, f"never so; told last: {self.last}"
            self.loop.run_once(0.2)

    def close(self) -> None:
        """End the app's process."""
        self.source.kill()
        self.loop.close()
