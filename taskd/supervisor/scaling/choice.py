"""Chooses the process that leaves when there are too many, and the one that is called back.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """One process: ``number`` within its group, ``held`` tasks, and the age of its oldest one in seconds."""

    number: int
    held: int
    oldest_s: float


def to_leave(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return who leaves: the idle first, then those with least to finish, then the last number."""
    # Of two that are busy the one with the younger task: least is lost if its end must be forced.
    return sorted(candidates, key=lambda each: (each.held, each.oldest_s, -each.number))[:count]


def to_return(leaving: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return who is called back: those with most to finish, which would stay longest in any case."""
    return sorted(leaving, key=lambda each: (-each.held, -each.oldest_s, each.number))[:count]
