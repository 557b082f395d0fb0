"""Whether the log beside a database is one at all: what is not, SQLite silently takes for an empty one.

Only its head can be judged: a log whose end is torn is what every crash leaves, and is read up to there.
"""

from __future__ import annotations

import struct

_HEAD = struct.Struct(">8I")
_VERSION = 3007000
#: The number at the beginning says which order of bytes the sums are made in.
_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}


def garbage_bytes(path: str) -> int:
    """Return the size of the log of this database when its head is not that of a log, else 0.

    Where the log is in use its head may be written at this moment: so it counts only when it is read twice.
    """
    first, _ = _read(path)
    if not first or is_head(first):
        return 0
    second, size = _read(path)
    return size if second == first else 0


def is_head(head: bytes) -> bool:
    """Return whether the first bytes of a log are as SQLite writes them, by its documented form and sums."""
    if len(head) < _HEAD.size:
        return False
    magic, version, *_, sum_1, sum_2 = _HEAD.unpack(head[: _HEAD.size])
    if magic not in _ORDERS or version != _VERSION:
        return False
    words = struct.unpack(f"{_ORDERS[magic]}6I", head[:24])
    found_1 = 0
    found_2 = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        found_1 = (found_1 + even + found_2) & 0xFFFFFFFF
        found_2 = (found_2 + odd + found_1) & 0xFFFFFFFF
    return (found_1, found_2) == (sum_1, sum_2)


def _read(path: str) -> tuple[bytes, int]:
    try:
        with open(f"{path}-wal", "rb") as file:
            head = file.read(_HEAD.size)
            return head, file.seek(0, 2)
    except OSError:
        return b"", 0
