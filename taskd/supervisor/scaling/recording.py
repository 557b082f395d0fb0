"""Loads as they were measured, for ``taskctl autoscale simulate``: one JSON object a line.

``{"second": 12, "group": "mail", "tasks": 20, "service_s": 0.1}``: within the twelfth second of the recording
twenty tasks arrived for the group, of 0.1 s each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from taskd.supervisor.scaling.load import Load
from taskd.supervisor.scaling.simulation import Arrivals

#: The memory of the supervisor: an hour of one busy group.
REMEMBERED = 3600

_decoder = msgspec.json.Decoder(Arrivals)


class Recording:
    """The last measurements of all groups.  An idle group leaves none."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, str, Load]] = deque(maxlen=REMEMBERED)

    def note(self, now: float, group: str, load: Load) -> None:
        """Remember one measurement."""
        if load.arrivals_per_s or load.ready:
            self._seen.append((now, group, load))

    def lines(self) -> Sequence[Arrivals]:
        """Return what is remembered; its first second is 0."""
        first = self._seen[0][0] if self._seen else 0.0
        return [
            Arrivals(int(at - first), group, load.arrivals_per_s, load.service_s)
            for at, group, load in self._seen
        ]


def parse(lines: Iterable[str]) -> list[Arrivals]:
    """Read a recording; empty lines are skipped.

    Raises: ``ValueError`` with the number of the line for one that is not such an object.
    """
    result = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            arrivals = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from error
        if arrivals.second < 0 or arrivals.tasks < 0 or arrivals.service_s < 0:
            raise ValueError(f"line {number}: second, tasks and service_s are at least 0")
        result.append(arrivals)
    return result
