"""The outward half of a worker over fakes: what it has queued, and the flush."""

from __future__ import annotations

from collections.abc import Sequence

from taskd.base.moment import Moment
from taskd.brokers.base import Intake
from taskd.consumer.moments import Settled
from taskd.consumer.settling.chords import Chords
from taskd.consumer.settling.flush import Flush
from taskd.consumer.settling.settling import Settling
from tests.unit.fake_stores import Stores


class Outward(Settling):
    """The queues of a worker with their way out; ``settled`` is the moment."""

    def __init__(self, stores: Stores, chords: Chords | None = None, *, in_one_step: bool = False) -> None:
        super().__init__(60.0)
        self.settled: Moment[Settled] = Moment("settled")
        self._flush = Flush(
            self,
            stores,
            stores,
            chords or Chords(None, stores),
            self.settled,
            in_one_step=in_one_step,
        )

    def flush(self, intake: Intake) -> Sequence[int]:
        return self._flush.send(intake)
