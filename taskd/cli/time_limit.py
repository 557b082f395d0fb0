"""``--timeout`` for every verb: a verb that has none of its own gives up as a whole after this time."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import click

from taskd.base import exit_codes
from taskd.cli.output import Failure
from taskd.cli.session import duration

C = TypeVar("C", bound=click.Command)

_NAME = "verb_timeout_s"
_AGAIN_S = 0.5


def limited(command: C) -> C:
    """Return the command, with ``--timeout`` if it had none; commands of a group likewise.

    A command that was given one before is left alone.
    """
    if isinstance(command, click.Group):
        for below in command.commands.values():
            limited(below)
        return command
    if command.callback is None or any("--timeout" in parameter.opts for parameter in command.params):
        return command
    command.params.append(
        click.Option(
            ["--timeout", _NAME],
            type=duration,
            default="0",
            show_default=True,
            help=f"Give up after this time, with exit status {exit_codes.TEMPFAIL}. 0 waits forever.",
        )
    )
    command.callback = _limit(command.callback)
    return command


def _limit(callback: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(callback)
    def run(*args: object, **options: object) -> object:
        timeout_s = options.pop(_NAME)
        assert isinstance(timeout_s, float)
        with alarm(timeout_s):
            return callback(*args, **options)

    return run


class _TimeIsUp(BaseException):
    """Passes every barrier that an ``Exception`` would end at."""


@contextmanager
def alarm(timeout_s: float) -> Iterator[None]:
    """Raise ``Failure`` inside the block when it takes longer; system calls are interrupted by that."""
    if timeout_s <= 0:
        yield
        return
    inside = True

    def give_up(_number: int, _frame: FrameType | None) -> None:
        if inside:
            raise _TimeIsUp

    former = signal.signal(signal.SIGALRM, give_up)
    # Again and again: Python drops what is raised while it finalizes an object.
    signal.setitimer(signal.ITIMER_REAL, timeout_s, _AGAIN_S)
    try:
        yield
    except _TimeIsUp:
        inside = False
        raise Failure(f"not done within {timeout_s:g} s (--timeout)", exit_codes.TEMPFAIL) from None
    finally:
        inside = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
