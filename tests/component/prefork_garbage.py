"""What no child should write, into the data socket and into the memory that it shares with its pool."""

from __future__ import annotations

import random
import struct

import msgspec

from taskd.pools.base import Job
from taskd.pools.prefork import slot as slots
from taskd.pools.prefork.handle import Child
from taskd.pools.prefork.last_lines import last_lines

FLOATS = (float("nan"), float("inf"), -1.0, 0.0, 1e300)


def stream(chance: random.Random, jobs: int) -> bytes:
    """Frames of reports as a child would send them, or nearly."""
    sent, frames = 0, b""
    while sent < jobs:
        count = chance.randint(1, jobs - sent)
        reports = [
            [0, sent + at, b"r" * chance.choice([0, 9, 300]), chance.choice([0.1, 0.1, *FLOATS])]
            for at in range(count)
        ]
        body = struct.pack(">QBI", sent, 0xDD, count) + b"".join(map(msgspec.msgpack.encode, reports))
        frames += struct.pack(">Q", len(body)) + body
        sent += count
    return frames


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Return the bytes with junk in them, cut, or as they are."""
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(data) + 1)
        junk = chance.choice(
            [
                chance.randbytes(chance.randint(1, 40)),
                struct.pack(">Q", chance.choice([0, 1, 8, 2**33, 2**63, 2**64 - 1])),
                struct.pack(">BI", 0xDD, chance.choice([0, 3, 2**32 - 1])),
                b"\x91" * 3000,
            ]
        )
        data = chance.choice(
            [data[:at] + junk + data[at:], data[:at] + junk + data[at + len(junk) :], data[:at], junk + data]
        )
    return data


def scribble(chance: random.Random, slot: slots.Slot) -> None:
    """Write into the shared memory."""
    for _ in range(chance.randint(0, 4)):
        word = chance.randrange(len(slot.words))
        slot.words[word % 8] = chance.choice([0, 1, 2, 5, 2**32, chance.getrandbits(64), 2**64 - 1])
    if chance.random() < 0.3:
        slot.times[slots.SINCE] = chance.choice(FLOATS)
    if chance.random() < 0.3:
        slot.words[slots.FILL] = chance.randint(0, 9) << 32 | chance.choice([0, 7, 21, 100, 65536, 65537])
        slot.area[:100] = chance.randbytes(100)


def attack(chance: random.Random) -> None:
    """Write it, have the pool's end read it, and see that each of the jobs ends once."""
    jobs = chance.randint(1, 6)
    child = Child(1)
    sock, _ = child.passed_fds()
    try:
        child.send([Job(tag, b"") for tag in range(jobs)])
        sock.sendall(mutated(chance, stream(chance, jobs)))
        ended: list[int] = []
        for _ in range(3):
            scribble(chance, child.slot)
            child.running()
            child.soften(chance.randrange(jobs))
            child.hold()
            for found in (child.overhear(), child.rescue()):
                if found is not None:
                    ended += [each.tag for part in found for each in part]
            ended += [job.tag for job in child.take_back()]
            try:
                while (received := child.receive()) is not None:
                    ended += [each.tag for part in received for each in part]
            except BlockingIOError:
                pass
        outcomes, waiting = child.remains()
        child.end(outcomes[0] if outcomes else None)
        last_lines(child.slot)
        child.slot.last_words()
        ended += [each.tag for part in (outcomes, waiting) for each in part]
        assert sorted(ended) == list(range(jobs))
    finally:
        child.close()
