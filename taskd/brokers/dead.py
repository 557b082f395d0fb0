"""The record of a message that becomes a dead letter: made to be listed, whatever the message holds.

Headers and reasons come from the sender of the message; nothing in them may keep a letter from being
written, found or shown.
"""

from __future__ import annotations

import msgspec

from taskd.base.errors import SerializationError
from taskd.protocol import serializers


class _Named(msgspec.Struct, gc=False):
    task: str = ""


_decoder = msgspec.json.Decoder(_Named)


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


def storable(text: str) -> str:
    """Return the text with lone surrogates, which UTF-8 cannot represent, spelt out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
