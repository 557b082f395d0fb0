"""The configuration in force, which a reload may exchange while the worker goes on."""

from __future__ import annotations

from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config


class LiveConfig:
    """Read it at the time of its use; only ``exchange`` writes."""

    __slots__ = ("config", "worker")

    def __init__(self, config: Config, worker: WorkerConfig) -> None:
        self.config = config
        #: The worker's own table.
        self.worker = worker

    def exchange(self, config: Config, worker: WorkerConfig) -> None:
        """Put another configuration into force."""
        self.config = config
        self.worker = worker

    @property
    def app(self) -> str:
        """The path of the task code: the worker's own, or the file's."""
        return self.worker.app or self.config.app
