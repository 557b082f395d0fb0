"""The generation of claims that counts: settlements of an earlier one are void."""

from __future__ import annotations


class Claims:
    """The number of the present generation of claims.  The step Connection alone begins another one."""

    __slots__ = ("generation",)

    def __init__(self) -> None:
        self.generation = 0

    def begin_anew(self) -> int:
        """Begin another generation: whatever an earlier one settles is void; return its number."""
        self.generation += 1
        return self.generation
