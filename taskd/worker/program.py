"""The identity of this worker: its name, and its table of the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taskd.config.programs import WorkerConfig, slots
from taskd.config.schema import Config


@dataclass(frozen=True, slots=True)
class WorkerProgram:
    """One worker program: its name, such as ``mail-1``, and its table of the file."""

    name: str
    config: Config
    worker: WorkerConfig
    #: Returns the configuration with the changes that came since; None where nobody sends any.
    latest: Callable[[], Config] | None = None


def concurrency_bounds(worker: WorkerConfig) -> tuple[int, int]:
    """Return the fewest and the most slots; they are the same for a pool of fixed size."""
    most = slots(worker)
    return min(worker.min_concurrency, most) or most, most
