"""How many jobs go to a child in one trip, and whether a busy child may hold another trip.

A job of unknown or long run time travels alone, to an idle child.  Of jobs known to be short, as
many as make some 2 ms travel together: the system calls and wake-ups of one are shared by all.
"""

from __future__ import annotations

from collections import deque

from taskd.pools.base import Job
from taskd.pools.prefork.handle import Child

TRIP_S = 0.002
TRIP_JOBS = 256
#: A job that runs longer than this must have no other behind it.
STUCK_S = 0.02


def is_short(job: Job) -> bool:
    """Whether the job may share a trip."""
    return 0.0 < job.expected_s <= TRIP_S


def next_trip(backlog: deque[Job], most: int) -> list[Job]:
    """Take one job, or several short ones, off the backlog, which is not empty."""
    trip = [backlog.popleft()]
    if not is_short(trip[0]):
        return trip
    total_s = trip[0].expected_s
    while backlog and len(trip) < most:
        expected_s = backlog[0].expected_s
        total_s += expected_s
        if expected_s <= 0.0 or total_s > TRIP_S:
            break
        trip.append(backlog.popleft())
    return trip


def may_hold_more(child: Child, now: float) -> bool:
    """Whether a busy child has only short work in its hands, no more than one trip, and gets on."""
    in_hand = child.in_hand
    if not 0 < len(in_hand) <= TRIP_JOBS or child.load_s > TRIP_S or child.holding or child.retiring:
        return False
    if child.room <= 0:
        return False
    last = in_hand[-1]
    if last is None or not is_short(last):
        return False
    running = child.running()
    return running is None or now - running.since < STUCK_S
