"""One descriptor that stands for several is readable while any of them is."""

from __future__ import annotations

import select
from contextlib import closing

import pytest

from taskd.base.wakeup import AnyReadable, Wakeup


def is_readable(source: AnyReadable) -> bool:
    poller = select.poll()
    poller.register(source.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def test_it_is_readable_while_any_is() -> None:
    with closing(AnyReadable()) as both, closing(Wakeup()) as one, closing(Wakeup()) as other:
        both.add(one.fileno())
        both.add(other.fileno())

        seen = [is_readable(both)]
        for step in (one.set, other.set, one.clear, other.clear):
            step()
            seen.append(is_readable(both))

        assert seen == [False, True, True, True, False]


def test_a_descriptor_that_is_closed_makes_it_readable_no_more() -> None:
    with closing(AnyReadable()) as several:
        gone = Wakeup()
        several.add(gone.fileno())
        gone.set()
        assert is_readable(several)

        gone.close()

        assert not is_readable(several)


def test_what_is_no_descriptor_is_refused() -> None:
    with closing(AnyReadable()) as several, pytest.raises(OSError, match="Bad file descriptor"):
        several.add(999_999)
