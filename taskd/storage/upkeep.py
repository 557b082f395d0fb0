"""The seam of ``taskctl store``: a durable store as an operator sees it and keeps it in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from taskd.base.formats import FormatMark, Formats


@dataclass(frozen=True, slots=True)
class Extent:
    """How much room a store takes."""

    size_bytes: int
    live_bytes: int
    #: It gives dead bytes back by itself.
    shrinks: bool = True

    @property
    def dead_bytes(self) -> int:
        """The part that holds nothing: free pages, and a log that is in the file already."""
        return max(0, self.size_bytes - self.live_bytes)


class Upkeep(Protocol):
    """One store of one room.  Nothing is made by looking.  All methods raise ``StorageError``."""

    @property
    def place(self) -> str:
        """The file or the server, as it may be shown; stores in the same place share what is there."""

    @property
    def formats(self) -> Formats[object]:
        """The formats that this taskd knows."""

    def mark(self) -> FormatMark | None:
        """Return the format that is there; None when the store is not made yet."""

    def extent(self) -> Extent | None:
        """Return how much room the store takes; None where only its server knows."""

    def bring_up(self) -> None:
        """Make the steps that are due, in a store that is there."""

    def problems(self) -> Sequence[str]:
        """Return what is wrong with the store, a line for each problem."""

    def stalls(self) -> str:
        """Return why ``compact`` would keep others waiting for long; empty when it would not."""

    def compact(self, pause: Callable[[float], object]) -> bool:
        """Give dead bytes back; return False where there is nothing to do so with.

        ``pause`` waits for a number of seconds, in which others go on.
        """
