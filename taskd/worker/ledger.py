"""Reads the ledger of this worker's former process, to learn of what it died, and begins the next one.

The supervisor keeps the memory of each process for the next one (``taskd.supervisor.process.legacy``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.config.kinds import PoolTrait
from taskd.consumer.claiming.suspects import Suspects
from taskd.execution.ledger import Ledger
from taskd.protocol.ledger import FACTS, FACTS_AT, HEADER_BYTES, MAGIC, SLOT_BYTES, STOPPING_AT
from taskd.protocol.status import LEDGER_FDS_VARIABLE
from taskd.worker.program import WorkerProgram, concurrency_bounds


@dataclass(frozen=True, slots=True)
class LedgerGiven:
    """The ledger of this process, and the suspects that its predecessor left."""

    #: None without a supervisor, which keeps it.
    ledger: Ledger | None
    suspects: Suspects


class LedgerStep(Step[LedgerGiven]):
    """Begins the ledger of this process, having read that of its predecessor."""

    name = "Ledger"

    def __init__(self, program: WorkerProgram) -> None:
        self._program = program
        self._ledger: Ledger | None = None

    def start(self, given: Given) -> LedgerGiven:
        """Read and begin."""
        worker = self._program.worker
        _, most = concurrency_bounds(worker)
        # Twice as many slots as tasks at once: those that were given up keep theirs, and children have heirs.
        # Where tasks run in children, most deaths are those of single ones, of which the pool knows.
        legacy = open_ledger(2 * most, only_own=PoolTrait.CHILDREN in worker.kind.traits)
        self._ledger = legacy.ledger
        return legacy

    def stop(self, deadline: Deadline) -> None:
        """The process ends in order: nothing is to be known of it."""
        if self._ledger is not None:
            self._ledger.close()


def suspects_in(fd: int, *, only_own: bool = False) -> Suspects:
    """Return what was running when the process that wrote into ``fd`` died of it."""
    header = os.pread(fd, HEADER_BYTES, 0)
    if not header.startswith(MAGIC) or len(header) < HEADER_BYTES or header[STOPPING_AT]:
        return Suspects(only_own=only_own)
    pid, size = FACTS.unpack_from(header, FACTS_AT)
    content = os.pread(fd, min(size, os.fstat(fd).st_size), 0)
    slots = (content[at : at + SLOT_BYTES] for at in range(HEADER_BYTES, len(content), SLOT_BYTES))
    return Suspects([slot.rstrip(b"\0") for slot in slots if slot[:1] != b"\0"], pid, only_own=only_own)


def open_ledger(slots: int, *, only_own: bool = False) -> LedgerGiven:
    """Return the ledger in the memory that the supervisor passed, and what the former process left."""
    suspects = Suspects(only_own=only_own)
    named = os.environ.pop(LEDGER_FDS_VARIABLE, "")
    if not named:
        return LedgerGiven(None, suspects)
    own, *former = map(int, named.split(","))
    os.set_inheritable(own, False)
    for fd in former:
        suspects = suspects_in(fd, only_own=only_own)
        os.close(fd)
    return LedgerGiven(Ledger(own, slots), suspects)
