"""Hold the first claim for a moment, while neighbours are asked what must not run."""

from __future__ import annotations


class Hold:
    """Whether claims are held.  Mingle alone holds them and lets go."""

    __slots__ = ("is_on",)

    def __init__(self) -> None:
        self.is_on = False

    def set(self) -> None:
        """Claim nothing."""
        self.is_on = True

    def let_go(self) -> None:
        """Claim again."""
        self.is_on = False
