"""The frames that the supervisor sends to the writer of log files, over a pipe.  Pure.

A frame is a kind, two lengths, the file's name and the data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

_HEAD = struct.Struct(">BHI")


class FrameKind(IntEnum):
    """The request of a frame."""

    WRITE = 1  # append the data to the file ``name``
    REOPEN = 2  # close every file; the next data opens it by its name


def encode(kind: FrameKind, name: str = "", data: bytes = b"") -> bytes:
    """Return a frame."""
    raw = name.encode("utf-8", "surrogateescape")
    return _HEAD.pack(kind, len(raw), len(data)) + raw + data


class Decoder:
    """Cuts the stream into frames."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[FrameKind, str, bytes]]:
        """Return the frames that are complete now."""
        self._received += data
        at = 0
        while len(self._received) - at >= _HEAD.size:
            kind, name_bytes, data_bytes = _HEAD.unpack_from(self._received, at)
            name_at = at + _HEAD.size
            data_at = name_at + name_bytes
            end = data_at + data_bytes
            if len(self._received) < end:
                break
            name = self._received[name_at:data_at].decode("utf-8", "surrogateescape")
            yield FrameKind(kind), name, bytes(self._received[data_at:end])
            at = end
        del self._received[:at]
