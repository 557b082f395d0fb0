"""The steps that say where messages, results and revocations live; nothing is opened before it is needed."""

from __future__ import annotations

import logging

from taskd.base import clock
from taskd.base import loop as loops
from taskd.base.blueprint import Given, Step
from taskd.base.errors import StorageError
from taskd.base.lifecycle import Deadline
from taskd.brokers import factory as brokers
from taskd.consumer.backends import Backends
from taskd.results import factory
from taskd.revocations.store import Forgiving, RevocationStore, state_of
from taskd.sending.replies import open_results
from taskd.worker.foundations import Timer
from taskd.worker.program import WorkerProgram

logger = logging.getLogger(__name__)

#: How often results whose time has come are deleted; each worker does it, in small bites.
_EXPIRE_EVERY_S = 60.0


class Queues(Step[Backends]):
    """Provides broker, publisher and result store."""

    name = "Queues"
    requires = (Timer,)

    def __init__(self, program: WorkerProgram) -> None:
        self._program = program
        self._backends: Backends | None = None
        self._expiry: loops.LoopTimer | None = None

    def start(self, given: Given) -> Backends:
        """Name them, and delete old results from now on."""
        config = self._program.config
        broker = brokers.connect(config.broker, config.stores)
        backends = self._backends = Backends(
            broker,
            broker.publisher(),
            open_results(config, broker),
            factory.chords(config.results, config.stores, config.result_expires),
        )

        def expire() -> None:
            try:
                backends.results.expire(clock.now())
            except StorageError as error:
                logger.error("old results could not be deleted: %s", error)

        self._expiry = given[Timer].every(_EXPIRE_EVERY_S, expire)
        return backends

    def stop(self, deadline: Deadline) -> None:
        """Close what was opened."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._backends is not None:
            self._backends.publisher.close()
            self._backends.results.close()
            if self._backends.chords is not None:
                self._backends.chords.close()
            self._backends.broker.close()


class StateDB(Step[RevocationStore | None]):
    """Provides what lets revocations outlive the worker; None where the broker has no place for it."""

    name = "StateDB"

    def __init__(self, program: WorkerProgram) -> None:
        self._program = program
        self._state: RevocationStore | None = None

    def start(self, given: Given) -> RevocationStore | None:
        """Say where it is; the consumer reads it as soon as it can hear what is revoked."""
        config = self._program.config
        state = state_of(config.broker, config.stores)
        self._state = None if state is None else Forgiving(state)
        return self._state

    def stop(self, deadline: Deadline) -> None:
        """Close it."""
        if self._state is not None:
            self._state.close()
