"""Text from outside made safe to show: in one line, without anything that steers a terminal or a reader.

Names and ids of tasks, queues and programs, errors and values come from messages of others.  A newline in
one forges a line of the log, an escape character steers the terminal, a mark of direction reorders what is
read.  Unsafe characters are shown as Python would write them: ``\\n``, ``\\x1b``, ``\\u202e``.
"""

from __future__ import annotations

import json
import re

# Spaces that str.isprintable() does not count, and joiners that scripts and emoji need.
_HARMLESS = "\u00a0\u3000\u200c\u200d"
#: Before every further line of a block: such a line can not pass for the beginning of a record.
INDENT = "  "
_NOT_ASCII_TEXT = re.compile(r"[^\x20-\x7e]")


class Block(str):
    """A text of several lines on purpose, such as a traceback, among the arguments of a record of taskd."""

    __slots__ = ()


def one_line(text: str) -> str:
    """Return the text in one line; tabs stay."""
    if text.isprintable():
        return text
    return _NOT_ASCII_TEXT.sub(lambda match: _shown(match[0]), text)


def storable(text: str) -> str:
    """Return the text with lone surrogates, which UTF-8 cannot represent, spelt out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def block(text: str) -> str:
    """Return a text of several lines; all but the first begin with ``INDENT``."""
    if "\n" not in text:
        return one_line(text)
    return f"\n{INDENT}".join(one_line(line) for line in text.split("\n"))


def json_text(text: str) -> str:
    """Return a JSON document with the same values, in which every unsafe character is an escape of JSON."""
    if text.isprintable():
        return text
    return _NOT_ASCII_TEXT.sub(lambda match: _escaped(match[0]), text)


def _is_safe(char: str) -> bool:
    return char.isprintable() or char == "\t" or char in _HARMLESS


def _shown(char: str) -> str:
    return char if _is_safe(char) else repr(char)[1:-1]


def _escaped(char: str) -> str:
    # Outside of strings, JSON has no other unsafe character than the newlines of its layout.
    return char if char == "\n" or _is_safe(char) else json.dumps(char)[1:-1].replace("\x7f", "\\u007f")
