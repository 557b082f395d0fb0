"""Numbered formats of what is stored: which steps bring a store up, and which taskd may use it.  Pure.

A *format* is a number that grows with each change of what is stored.  A store carries two: its format, and
its *lowest reader*, the lowest format whose code may use it.

- An **additive** step keeps the lowest reader: a table, an index, a column with a default.  Processes of the
  former release go on beside it, so a rolling upgrade has no gap.
- A **breaking** step raises the lowest reader to its own number.  It must also rename whatever it changes.  A
  process of the former release that has the store open then fails at its next statement and is told why.  It
  writes nothing that the new one would misread.

Each step is made as a whole or not at all, and a step never changes once a release has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

#: One thing that a step does, in the words of its store: a statement, a function, a script.
Change_co = TypeVar("Change_co", covariant=True)


class FormatMark(NamedTuple):
    """The format that a store says of itself; zeros when it is new."""

    format: int
    lowest_reader: int


NOTHING = FormatMark(0, 0)


@dataclass(frozen=True)
class FormatStep(Generic[Change_co]):
    """One numbered change, from the format before it to its own."""

    format: int
    lowest_reader: int
    changes: Sequence[Change_co]

    @property
    def mark(self) -> FormatMark:
        """The mark of the store afterwards."""
        return FormatMark(self.format, self.lowest_reader)


@dataclass(frozen=True)
class Formats(Generic[Change_co]):
    """All steps of one room, from nothing to what this taskd writes."""

    room: str
    steps: Sequence[FormatStep[Change_co]]

    def __post_init__(self) -> None:
        lowest = 1
        for number, step in enumerate(self.steps, 1):
            if step.format != number or not lowest <= step.lowest_reader <= number:
                raise ValueError(f"{self.room}: step {step.format} with lowest reader {step.lowest_reader}")
            lowest = step.lowest_reader

    @property
    def format(self) -> int:
        """The mark that this taskd writes."""
        return len(self.steps)

    def refusal(self, found: FormatMark) -> str | None:
        """Return why this taskd may not use a store, with the remedy; None when it may."""
        if found.lowest_reader <= self.format:
            return None
        return (
            f"was written by a newer taskd ({self.room} format {found.format}, to be read from format "
            f"{found.lowest_reader} on; this taskd knows {self.format}); upgrade taskd or name another one"
        )

    def due(self, found: FormatMark) -> Sequence[FormatStep[Change_co]]:
        """Return the steps that are still to be made; none in a store of a newer taskd."""
        return self.steps[found.format :]
