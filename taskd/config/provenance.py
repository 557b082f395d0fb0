"""On which line of a TOML file each key stands.

``tomllib`` gives no line numbers, and a problem without its line is half a message.  This scanner
reads only as much of TOML as is needed to find keys: tables, dotted and quoted keys, inline tables;
it steps over strings, arrays and comments.  It is meant for text that ``tomllib`` has accepted; for
anything else it finds what it can and never raises.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

KeyPath = tuple[str, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK_IN_LINE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[^\s.=\[\]{}\"'#,]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_VALUE = re.compile(r"[^,\]}\n#]*")
_ARRAY_PIECE = re.compile(r"[^\[\]{}\"'#]+")
_REST_OF_LINE = re.compile(r"[^\n]*")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_SHORT_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


@dataclass(frozen=True, slots=True)
class Provenance:
    """The lines of the keys of one file."""

    lines: Mapping[KeyPath, int]

    def line_of(self, path: KeyPath) -> int:
        """Return the line of a key, else that of the nearest table around it, else 1."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return 1


def scan(text: str) -> Provenance:
    """Find the line of every key of a TOML document."""
    scanner = _Scanner(text)
    try:
        scanner.document()
    except RecursionError:
        pass  # the keys found so far are better than nothing
    return Provenance(scanner.found)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.found: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def document(self) -> None:
        """Scan to the end, one table header or key/value pair at a time."""
        table: KeyPath = ()
        while True:
            self._skip(_BLANK)
            start = self._at
            if start >= len(self._text):
                return
            if self._text[start] == "[":
                self._at += 2 if self._text.startswith("[[", start) else 1
                table = self._key(())
            else:
                self._pair(table)
            self._skip(_REST_OF_LINE)

    def _pair(self, table: KeyPath) -> None:
        path = self._key(table)
        self._skip(_BLANK_IN_LINE)
        if self._peek() == "=":
            self._at += 1
            self._value(path)

    def _key(self, table: KeyPath) -> KeyPath:
        """Read a dotted key and note the line of it and of each table that it goes through."""
        path = table
        while True:
            self._skip(_BLANK_IN_LINE)
            line = bisect_right(self._line_starts, self._at)
            quoted = self._peek() in ('"', "'")
            part = _unquote(self._take(_STRING)) if quoted else self._take(_BARE_KEY)
            path = (*path, part)
            self.found.setdefault(path, line)
            self._skip(_BLANK_IN_LINE)
            if self._peek() != ".":
                return path
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        self._skip(_BLANK_IN_LINE)
        match self._peek():
            case '"' | "'":
                self._take(_STRING)
            case "{":
                self._inline_table(path)
            case "[":
                self._array()
            case _:
                self._skip(_BARE_VALUE)

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while True:
            self._skip(_BLANK)
            start = self._at
            match self._peek():
                case "":
                    return
                case "}":
                    self._at += 1
                    return
                case ",":
                    self._at += 1
                case _:
                    self._pair(path)
            if self._at == start:
                return  # not TOML; going on would go round in circles

    def _array(self) -> None:
        """Step over an array; keys inside its inline tables have no path of their own."""
        depth = 0
        while self._at < len(self._text):
            self._skip(_BLANK)
            match self._peek():
                case "[" | "{":
                    depth += 1
                    self._at += 1
                case "]" | "}":
                    depth -= 1
                    self._at += 1
                    if depth == 0:
                        return
                case '"' | "'":
                    self._take(_STRING)
                case _:
                    self._skip(_ARRAY_PIECE)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _take(self, pattern: re.Pattern[str]) -> str:
        """Return what the pattern matches here, or one character, so that there is always progress."""
        match = pattern.match(self._text, self._at)
        taken = match[0] if match is not None else self._peek()
        self._at += len(taken)
        return taken


def _unquote(quoted: str) -> str:
    if quoted.startswith('"'):
        return _ESCAPE.sub(_unescape, quoted[1:-1])
    return quoted[1:-1]


def _unescape(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits is None:
        return _SHORT_ESCAPES.get(match[4], match[4])
    code = int(digits, 16)
    return chr(code) if code <= 0x10FFFF else match[0]
