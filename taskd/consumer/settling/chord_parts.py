"""Count parts of chords that have ended, and queue what follows those that were the last."""

from __future__ import annotations

from taskd.consumer.settling.chords import Chords, Returned
from taskd.consumer.settling.settling import Settling
from taskd.results.base import Counted


def count_parts(queues: Settling, chords: Chords) -> None:
    """Count all parts that wait, those of the chords around them too.

    Raises: ``BackendError``; the parts that are not counted stay queued.
    """
    returned = queues.returned
    while returned:
        counted = list(zip(chords.count(returned), returned, strict=True))
        queues.claimed.extend(each for how, each in counted if how is Counted.CLAIMED)
        returned[:] = [each for how, each in counted if how is Counted.COMPLETE]
        outer: list[Returned] = []
        try:
            while returned:
                ended = chords.end(returned[0])
                del returned[0]
                if ended is not None:
                    outer += ended.returned
                    queues.end(ended)
        finally:
            returned += outer
