"""Compressed bodies, by the names that kombu's headers and senders' options use.

Unpacking is bounded: a body of a kilobyte must not become gigabytes.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from taskd.base.errors import SerializationError

#: LZMA needs this much for its window alone, at its highest level.
_LZMA_BYTES = 128 * 2**20
_REMEDY = 'is not installed here: pip install "taskd[compression]"'


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...


class _Codec(NamedTuple):
    #: The name in the header.
    kind: str
    pack: Callable[[bytes], bytes]
    #: The body, and the most bytes that are wanted: one more of them says that there are more.
    unpack: Callable[[bytes, int], bytes]


def _whole(data: bytes, unpacker: _Unpacker, most: int) -> bytes:
    if not unpacker.eof and len(data) < most:
        raise SerializationError("the compressed body ends too early")
    return data


def _from_zlib(body: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj()
    return _whole(unpacker.decompress(body, most), unpacker, most)


def _from_bz2(body: bytes, most: int) -> bytes:
    unpacker = bz2.BZ2Decompressor()
    return _whole(unpacker.decompress(body, most), unpacker, most)


def _from_lzma(body: bytes, most: int) -> bytes:
    unpacker = lzma.LZMADecompressor(memlimit=_LZMA_BYTES + 2 * most)
    return _whole(unpacker.decompress(body, most), unpacker, most)


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ModuleNotFoundError as error:
        raise SerializationError(f"compression zstd needs backports.zstd, which {_REMEDY}") from error
    return zstd


def _from_zstd(body: bytes, most: int) -> bytes:
    unpacker = _zstd().ZstdDecompressor()
    return _whole(unpacker.decompress(body, most), unpacker, most)


def _brotli() -> Any:
    try:
        import brotli
    except ModuleNotFoundError as error:
        raise SerializationError(f"compression brotli needs brotli, which {_REMEDY}") from error
    return brotli


def _from_brotli(body: bytes, most: int) -> bytes:
    unpacker = _brotli().Decompressor()
    parts = [unpacker.process(body, output_buffer_limit=most)]
    size = 0
    while True:
        size += len(parts[-1])
        if unpacker.is_finished() or size >= most:
            return b"".join(parts)
        if unpacker.can_accept_more_data():
            raise SerializationError("the compressed body ends too early")
        parts.append(unpacker.process(b"", output_buffer_limit=most - size))


_CODECS: Mapping[str, _Codec] = {
    "gzip": _Codec("application/x-gzip", zlib.compress, _from_zlib),  # kombu's gzip is zlib's own format
    "bzip2": _Codec("application/x-bz2", bz2.compress, _from_bz2),
    "lzma": _Codec("application/x-lzma", lzma.compress, _from_lzma),
    "brotli": _Codec("application/x-brotli", lambda body: bytes(_brotli().compress(body)), _from_brotli),
    "zstd": _Codec("application/zstd", lambda body: bytes(_zstd().compress(body)), _from_zstd),
}
_BY_KIND = {codec.kind: codec for codec in _CODECS.values()}
#: kombu reads these in a header, too; producers of other languages write them.
_ALIASES = {"zlib": "gzip", "bzip": "bzip2", "xz": "lzma", "zstandard": "zstd"}
#: The names that a sender may ask for.
NAMES = tuple(_CODECS)


def packed(body: bytes, name: str) -> tuple[bytes, str]:
    """Return a body compressed in the named way, and what its header says.

    Raises: ``SerializationError`` when the library for it is not installed; ``ValueError`` for another name.
    """
    codec = _CODECS.get(name)
    if codec is None:
        raise ValueError(f'compression "{name}" is not known; expected one of {", ".join(NAMES)}')
    return codec.pack(body), codec.kind


def unpacked(body: bytes, kind: str, max_bytes: int) -> bytes:
    """Return a body as it was before it was compressed; ``kind`` is what its header says.

    No more than ``max_bytes`` are unpacked, and one.

    Raises: ``SerializationError``.
    """
    name = kind.strip().lower()
    codec = _BY_KIND.get(name) or _CODECS.get(_ALIASES.get(name, name))
    if codec is None:
        raise SerializationError(f'compression "{kind}" is not known; expected one of {", ".join(_BY_KIND)}')
    try:
        data = codec.unpack(body, max_bytes + 1)
    except SerializationError:
        raise
    except Exception as error:
        raise SerializationError(f"the body is not {kind}: {error}") from error
    if len(data) > max_bytes:
        raise SerializationError(
            f"the body is larger than {max_bytes} bytes when unpacked ({kind}), the limit of max_message_size"
        )
    return data
