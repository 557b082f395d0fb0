"""The variables that a script sets and exports, line by line, as a shell would for plain values.  Pure.

Nothing is run: a value that a shell makes while it runs, such as ``$(hostname)``, is named and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from taskd.cli.importing.command_line import CommandError, words_of

_VARIABLE = re.compile(r"(?<!\\)\$\{([A-Za-z_][A-Za-z0-9_]*)\}|(?<!\\)\$([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.ASCII)
_EXPORT = re.compile(r"(?:export|declare\s+-x|typeset\s+-x)\s+(.*)", re.ASCII)
_ALL_EXPORTED = re.compile(r"set\s+-(?:a|o\s+allexport)\b.*", re.ASCII)
_NOT_ALL_EXPORTED = re.compile(r"set\s+\+(?:a|o\s+allexport)\b.*", re.ASCII)
_BLANKS = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
#: The parts of a word, each with another meaning of ``$``.
_PART = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\s;&|'"\\]+)""")
_ESCAPED = re.compile(r'\\([$`"\\])')
_MOST_EXPANDED = 1 << 16


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with the variables that are known put in, once; others stay as they are.

    Raises: ``CommandError`` for a result that is too long.
    """
    size = len(text)
    parts: list[str] = []
    end = 0
    for found in _VARIABLE.finditer(text):
        value = variables.get(found[1] or found[2], found[0])
        size += len(value)
        if size > _MOST_EXPANDED + len(text):
            raise CommandError("the variables make the command too long")
        parts += [text[end : found.start()], value]
        end = found.end()
    return "".join([*parts, text[end:]])


@dataclass(slots=True)
class ShellVariables:
    """The variables of a script, as they are after the lines that were taken."""

    known: dict[str, str] = field(default_factory=dict)
    _exported: dict[str, None] = field(default_factory=dict)
    #: Their values are made by the shell, or take in variables that the file does not set.
    _unread: set[str] = field(default_factory=set)
    _is_all_exported: bool = False

    def take(self, line: str) -> list[str]:
        """Take one whole line; return the names that it sets.  Raises: ``CommandError``."""
        text = line.strip()
        if _ALL_EXPORTED.fullmatch(text):
            self._is_all_exported = True
        elif _NOT_ALL_EXPORTED.fullmatch(text):
            self._is_all_exported = False
        elif found := _EXPORT.fullmatch(text):
            return list(self._export(found[1]))
        elif found := _ASSIGNED.fullmatch(text):
            return self._assign(found[1], found[2])
        return []

    @property
    def exported(self) -> dict[str, str]:
        """The environment of a program that starts now."""
        return {
            name: self.known[name]
            for name in self._exported
            if name in self.known and name not in self._unread
        }

    @property
    def unread(self) -> tuple[str, ...]:
        """The exported variables whose values are not in the file."""
        return tuple(name for name in self._exported if name in self._unread)

    def _assign(self, name: str, raw: str) -> list[str]:
        try:
            # A file of variables for systemd may have several words without quotes.
            value = " ".join(words_of(raw))
        except CommandError:
            return []
        self._set(name, expanded(value, self.known), is_plain=self._word(raw, 0)[2])
        if self._is_all_exported:
            self._exported[name] = None
        return [name]

    def _export(self, text: str) -> Iterator[str]:
        """Take ``A=b C='d e' F``, up to what ends the command."""
        position = 0
        while found := _NAME.match(text, position):
            position = found.end()
            name = found[0]
            self._exported[name] = None
            if text[position : position + 1] == "=":
                value, position, is_plain = self._word(text, position + 1)
                self._set(name, value, is_plain=is_plain)
                yield name
            position = _BLANKS.match(text, position).end()  # type: ignore[union-attr]

    def _set(self, name: str, value: str, *, is_plain: bool) -> None:
        self.known[name] = value
        if is_plain:
            self._unread.discard(name)
        else:
            self._unread.add(name)

    def _word(self, text: str, position: int) -> tuple[str, int, bool]:
        """Return a word's value, where it ends, and whether the file has all of it."""
        value = ""
        is_plain = True
        while found := _PART.match(text, position):
            position = found.end()
            single, double, escaped, bare = found.groups()
            if single is not None or escaped is not None:
                value += single if single is not None else escaped
                continue
            part = double if double is not None else bare
            is_plain = is_plain and self._is_plain(part)
            value += _ESCAPED.sub(r"\1", expanded(part, self.known))
        return value, position, is_plain

    def _is_plain(self, part: str) -> bool:
        names = {found[1] or found[2] for found in _VARIABLE.finditer(part)}
        rest = _ESCAPED.sub("", _VARIABLE.sub("", part))
        return names <= (self.known.keys() - self._unread) and "`" not in rest and "$" not in rest
