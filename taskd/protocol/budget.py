"""How much one value from outside may take: bytes, and lists and objects, counted before it is decoded.

A limit of bytes alone lets a message of a kilobyte become gigabytes of Python objects.  Decoders bound the
depth by themselves: beyond the interpreter's recursion limit all of them raise ``RecursionError``.

One process has one budget, from its configuration; until it has read that, the defaults count.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from taskd.base.errors import SerializationError

#: No sender writes deeper, so that every reader can read it, however deep in its own stack it is.
MOST_DEPTH = 256
#: Headers are read by everybody who touches a message; Celery's have less than four kilobytes.
MOST_HEADER_BYTES = 2**20

_JSON_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
#: The first bytes of arrays and maps in msgpack; they may also stand inside of texts and numbers.
_MSGPACK_CONTAINERS = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
#: Bytes that follow the first byte of a msgpack value: of fixed size, and as the length of what follows.
_MSGPACK_FIXED = {
    0xCA: 4,
    0xCB: 8,
    0xCC: 1,
    0xCD: 2,
    0xCE: 4,
    0xCF: 8,
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
    0xD4: 2,
    0xD5: 3,
    0xD6: 5,
    0xD7: 9,
    0xD8: 17,
    0xDC: 2,
    0xDD: 4,
    0xDE: 2,
    0xDF: 4,
}
_MSGPACK_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_MSGPACK_EXTENSIONS = frozenset({0xC7, 0xC8, 0xC9})


class Budget(NamedTuple):
    """The room that one value may take."""

    max_bytes: int = 16 * 2**20
    #: Lists and objects (or tables, or maps) in it, itself included.
    max_containers: int = 500_000


_current = Budget()


def current() -> Budget:
    """Return the budget of this process."""
    return _current


def use(budget: Budget) -> None:
    """Make this the budget of the process.  For those who have just read a configuration."""
    global _current  # noqa: PLW0603 - readers are everywhere, and a process has one configuration
    _current = budget


def of_envelope() -> Budget:
    """Return the budget of a message with what stands around it: its body may be base64."""
    return Budget(4 * _current.max_bytes + MOST_HEADER_BYTES, _current.max_containers)


def check_size(size: int, what: str, budget: Budget | None = None) -> None:
    """Raise ``SerializationError`` when ``what`` takes more bytes than it may."""
    limit = (budget or _current).max_bytes
    if size > limit:
        raise SerializationError(
            f"{what} takes {_mib(size)}, more than the {_mib(limit)} of max_message_size; send a path or an "
            "id, or raise max_message_size here and where it is read"
        )


def check_json(data: bytes, what: str = "the JSON text", budget: Budget | None = None) -> None:
    """Raise ``SerializationError`` for a JSON text that is too large, or would become too many objects."""
    budget = budget or _current
    check_size(len(data), what, budget)
    if len(data) > budget.max_containers and _openers(data) > budget.max_containers:
        # Brackets in texts do not count.  The decoder refuses the remains of a text without end.
        _check_containers(_openers(_JSON_TEXTS.sub(b"", data)), what, budget)


def check_msgpack(data: bytes, what: str = "the msgpack", budget: Budget | None = None) -> None:
    """Do the same for msgpack."""
    budget = budget or _current
    check_size(len(data), what, budget)
    if len(data) > budget.max_containers:
        possible = len(data) - len(data.translate(None, _MSGPACK_CONTAINERS))
        if possible > budget.max_containers:
            _check_containers(_msgpack_containers(data, budget.max_containers), what, budget)


def _check_containers(count: int, what: str, budget: Budget) -> None:
    if count > budget.max_containers:
        raise SerializationError(
            f"{what} holds more than {budget.max_containers} lists and objects, the limit of "
            "max_message_containers; send a path or an id, or raise that limit"
        )


def _openers(data: bytes) -> int:
    return data.count(b"[") + data.count(b"{")


def _msgpack_containers(data: bytes, limit: int) -> int:
    """Return how many arrays and maps there are, as far as ``limit + 1``; of what is torn, those before."""
    at = 0
    end = len(data)
    found = 0
    while at < end and found <= limit:
        first = data[at]
        at += 1
        if first < 0x80 or first >= 0xE0:
            continue
        if first < 0xA0:
            found += 1
        elif first < 0xC0:
            at += first - 0xA0
        elif first in _MSGPACK_FIXED:
            found += first >= 0xDC
            at += _MSGPACK_FIXED[first]
        elif first in _MSGPACK_SIZED:
            size = _MSGPACK_SIZED[first]
            at += size + int.from_bytes(data[at : at + size], "big") + (first in _MSGPACK_EXTENSIONS)
    return found


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**19 else f"{size} bytes"
