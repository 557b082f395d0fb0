"""The clocks that brokers decide by, in one value, so that tests can turn them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from taskd.base import clock


@cache
def boot_id() -> str:
    """Return the id of this boot of the machine; a monotonic time means nothing in another one."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""  # no /proc: leases of before a reboot may then look valid for a while


@dataclass(frozen=True, slots=True)
class Timing:
    """``now`` decides what is due, ``monotonic`` with ``boot`` when a lease has run out."""

    now: Callable[[], float] = clock.now
    monotonic: Callable[[], float] = clock.monotonic
    boot: Callable[[], str] = boot_id
