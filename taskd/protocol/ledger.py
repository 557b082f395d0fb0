"""The memory in which a worker process notes what it runs: how its header and slots are laid out.

Written by whoever runs tasks (``taskd.execution.ledger``), read by the next process of the same worker.
A slot that begins with a zero byte is free.
"""

from __future__ import annotations

import hashlib
import struct

MAGIC = b"taskd-running-1\n"
#: The byte that says that the worker was asked to end.
STOPPING_AT = len(MAGIC)
HEADER_BYTES = 64
#: The process that writes, and how many bytes the header and its slots have.
FACTS = struct.Struct("<II")
FACTS_AT = 32
#: The longest key; a longer id is known by its digest.
MAX_KEY_BYTES = 63
SLOT_BYTES = MAX_KEY_BYTES + 1
#: Padded with zeros.
KEY = struct.Struct(f"{MAX_KEY_BYTES}s")
#: Tells the template the descriptor of its worker's ledger.
LEDGER_FD_VARIABLE = "TASKD_LEDGER_FD"


def key_of(task_id: str) -> bytes:
    """Return what stands for a task id in a place of fixed size; never empty, never with a zero byte."""
    key = task_id.encode("utf-8", "surrogatepass")
    if 0 < len(key) <= MAX_KEY_BYTES and b"\0" not in key:
        return key
    return hashlib.blake2b(key, digest_size=24).hexdigest().encode()
