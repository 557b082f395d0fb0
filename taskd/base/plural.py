"""Numbers beside what they count, as people read them: ``1 task``, ``2 tasks``."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return the number and its noun; ``many`` where the plural is not ``one`` with an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"
