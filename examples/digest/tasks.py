"""The task code of the example: measure a file, crunch a file, and report progress each second."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from taskd import App
from taskd.brokers.factory import connect

BLOCK_BYTES = 1 << 20

logger = logging.getLogger(__name__)

app = App()


class Measures(TypedDict):
    """What the reading worker finds."""

    size_bytes: int
    lines: int
    words: int


class Digest(TypedDict):
    """What the computing worker finds; ``deliveries`` is above 1 when a worker died on the task before."""

    sha256: str
    packed_bytes: int
    seconds: float
    deliveries: int


# A file that cannot be read now may be readable in a moment: three retries, then the failure is recorded.
@app.task(name="read.measure", queue="read", retry_for=(OSError,), retry_backoff=0.2, retry_backoff_max=1.0)
def measure(path: str) -> Measures:
    """Count the bytes, lines and words of a file."""
    size_bytes = lines = words = 0
    inside_word = False
    for block in _blocks(path):
        size_bytes += len(block)
        lines += block.count(b"\n")
        words += len(block.split())
        if inside_word and not block[:1].isspace():
            words -= 1  # a word that goes over the edge of two blocks was counted in both
        inside_word = not block[-1:].isspace()
    return {"size_bytes": size_bytes, "lines": lines, "words": words}


@app.task(
    name="digest.crunch", queue="digest", retry_for=(OSError,), retry_backoff=0.2, retry_backoff_max=1.0
)
def crunch(path: str) -> Digest:
    """Compute the checksum of a file, and its size when compressed."""
    began = time.perf_counter()
    checksum, packer, packed_bytes = hashlib.sha256(), zlib.compressobj(), 0
    for block in _blocks(path):
        checksum.update(block)
        packed_bytes += len(packer.compress(block))
    request = app.current_request()
    return {
        "sha256": checksum.hexdigest(),
        "packed_bytes": packed_bytes + len(packer.flush()),
        "seconds": time.perf_counter() - began,
        "deliveries": request.deliveries if request else 1,
    }


@app.task(name="digest.progress", queue="read", ignore_result=True)
def progress() -> None:
    """Write how many jobs are left to a file that the driver reads; beat sends this each second."""
    broker = connect(app.config.broker, app.config.stores)
    try:
        desk = broker.desk()
        left = {queue.name: queue.ready + queue.delayed + queue.claimed for queue in desk.queues()}
    finally:
        broker.close()
    left["read"] = left.get("read", 0) - 1  # this task itself
    logger.info("progress left_to_read=%d left_to_digest=%d", left["read"], left.get("digest", 0))
    with Path(os.environ["DIGEST_STATE"], "progress.jsonl").open("a") as file:
        file.write(json.dumps(left) + "\n")


def _blocks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block
