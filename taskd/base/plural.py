"""Numbers beside what they count, as people read them: ``1 task``, ``2 tasks``, ``1 waits``, ``2 wait``."""

from __future__ import annotations


def counted(number: float, one: str, many: str = "") -> str:
    """Return the number and its word; ``many`` where the plural is not ``one`` with an s."""
    shown = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{shown} {one if number == 1 else many or one + 's'}"
