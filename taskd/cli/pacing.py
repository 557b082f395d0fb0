"""Many ids, handed over in small batches: as fast as it goes or at a rate, with progress, interruptible."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from threading import Event

import click

from taskd.base import clock
from taskd.base.rates import parse_rate
from taskd.cli.output import Failure

#: Ids in one transaction when nobody asked for a rate.
_BATCH = 500
#: A paced run acts at most so often; a higher rate takes several ids at a time.
_TICK_S = 0.05
_PROGRESS_EVERY_S = 1.0


def per_second(text: str) -> float:
    """Read ``10/s``, ``100/m``, ``5/h`` or a number a second."""
    try:
        rate = parse_rate(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if rate == 0.0:
        raise click.BadParameter("0 is not a rate here; leave out --rate for no limit")
    return rate


def hand_over(
    ids: Sequence[int],
    act: Callable[[Sequence[int]], int],
    verb: str,
    *,
    rate: float | None = None,
    pause: Callable[[float], object] | None = None,
) -> int:
    """Call ``act`` with batch after batch, at most ``rate`` ids a second; return the sum of its answers.

    Each batch is done or not done as a whole.  Raises: ``Failure`` saying how far it came when
    somebody presses Ctrl-C.
    """
    pause = pause or Event().wait
    progress = _Progress(verb, len(ids))
    began = clock.monotonic()
    taken = 0
    done = 0
    try:
        while taken < len(ids):
            allowed = _BATCH
            if rate is not None:
                # The first goes at once.  By the schedule, not by the last pause: lateness is made good.
                allowed = int((clock.monotonic() - began) * rate) + 1 - taken
                if allowed < 1:
                    pause(max(_TICK_S, began + taken / rate - clock.monotonic()))
                    continue
            batch = ids[taken : taken + min(allowed, _BATCH)]
            done += act(batch)
            taken += len(batch)
            progress.at(done)
    except KeyboardInterrupt:
        progress.end()
        raise Failure(f"interrupted; {verb}: {done} of {len(ids)}, the others are still kept") from None
    progress.end()
    return done


class _Progress:
    """A line on stderr about once a second: rewritten on a terminal, appended elsewhere."""

    def __init__(self, verb: str, total: int) -> None:
        self._verb = verb
        self._total = total
        self._terminal = sys.stderr.isatty()
        self._next = clock.monotonic() + _PROGRESS_EVERY_S
        self._shown = False

    def at(self, done: int) -> None:
        """Count these as done."""
        if clock.monotonic() < self._next:
            return
        self._next = clock.monotonic() + _PROGRESS_EVERY_S
        self._shown = True
        start = "\r" if self._terminal else ""
        click.echo(f"{start}{self._verb}: {done} of {self._total}", err=True, nl=not self._terminal)

    def end(self) -> None:
        """Leave the line."""
        if self._shown and self._terminal:
            click.echo(err=True)
