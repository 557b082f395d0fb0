"""How far a reload has come that failed: which groups run by the new configuration, and which do not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reach:
    """The groups that a reload concerns, each in one of the two; both are empty where it changed nothing."""

    in_force: Sequence[str] = ()
    not_in_force: Sequence[str] = ()

    def __str__(self) -> str:
        """Return it for operators."""
        if not self.in_force and not self.not_in_force:
            return "nothing of the new configuration is in force"
        back = ", ".join(self.not_in_force)
        of_those = f"; not in force, as before the reload: {back}" if back else ""
        return f"in force: {', '.join(self.in_force) or 'no group'}{of_those}"


def reach_of(concerned: Collection[str], present: Iterable[str], troubled: Mapping[str, str]) -> Reach:
    """Return how far it came.  ``present``: the groups that there are, in the order of the file.

    A group that the reload removed is named last, and so.
    """
    here = [name for name in present if name in concerned]
    removed = sorted(set(concerned) - set(here))
    return Reach(
        (*(name for name in here if name not in troubled), *(f"{name} (removed)" for name in removed)),
        tuple(name for name in here if name in troubled),
    )
