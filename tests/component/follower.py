"""An ``AppSource`` over one app, and what it told.  Not a test module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from taskd.base import clock
from taskd.base.loop import Loop
from taskd.beat.app_process import AppPlace
from taskd.beat.app_source import AppSource
from taskd.beat.stores.base import Declared


class Follower:
    """Follows the schedule of the app ``path`` in a directory."""

    def __init__(
        self, directory: Path, path: str, scheduler: str = "", more: Mapping[str, str] | None = None
    ) -> None:
        """``more``: the environment of a second worker with the app."""
        self.loop = Loop()
        self.told: list[Declared] = []
        places = [AppPlace(path, str(directory), scheduler=scheduler)]
        if more is not None:
            places.append(AppPlace(path, str(directory), more, scheduler=scheduler))
        self.source = AppSource(self.loop, places, self.told.append, again_s=0.5)
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
