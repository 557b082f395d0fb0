"""The record of a message that becomes a letter: made to be listed, whatever the message holds.

Headers and reasons come from the sender of the message; nothing in them may keep a letter from being
written, found or shown.
"""

from __future__ import annotations

import msgspec

from taskd.base.errors import SerializationError
from taskd.base.safe_text import storable
from taskd.protocol import serializers


class _Named(msgspec.Struct, gc=False):
    task: str = ""


_decoder = msgspec.json.Decoder(_Named)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ZERO = msgspec.Raw(b"0")
_NEVER = (b"0", b"null")


def task_name(headers: bytes) -> str:
    """Return the task's name, empty where the headers hold none that is text."""
    try:
        return _decoder.decode(headers).task
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # NaN or a lone surrogate, perhaps in another header
    try:
        decoded = serializers.loads(headers)
    except SerializationError:
        return ""
    name = decoded.get("task") if isinstance(decoded, dict) else None
    return storable(name) if isinstance(name, str) else ""


def size_of(headers: bytes, body: bytes, evidence: bytes) -> int:
    """Return the size of a letter as its bounds count it."""
    return len(headers) + len(body) + len(evidence)


def never_tried(headers: bytes) -> bytes:
    """Return the headers of a message that is sent anew: of a task that was never retried."""
    try:
        fields = _fields_decoder.decode(headers)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return headers
    if bytes(fields.get("retries", _ZERO)) in _NEVER:
        return headers
    fields["retries"] = _ZERO
    return msgspec.json.encode(fields)
