"""Collects the problems of one file while it is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from taskd.base.nearest import nearest
from taskd.config.problems import Problem, ProblemSeverity
from taskd.config.provenance import KeyPath, Provenance, scan


class ProblemReport:
    """The problems found so far, and what values are read with: the environment."""

    def __init__(self, file: str, text: str, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.environ = environ
        self._file = file
        self._text = text
        self._provenance: Provenance | None = None
        self._wrong: set[KeyPath] = set()

    def error(
        self, path: KeyPath, wrong: str, expected: str = "", *, word: str = "", known: Iterable[str] = ()
    ) -> None:
        """Note an error at a key; ``word`` is looked up among the ``known`` names for the hint."""
        hint = nearest(word, known) if word else ""
        self._add(ProblemSeverity.ERROR, path, wrong, expected, hint)

    def unknown(self, path: KeyPath, key: str, known: Sequence[str]) -> None:
        """Note a key that the table does not have."""
        hint = nearest(key, known)
        self._add(
            ProblemSeverity.ERROR, path, "unknown key", "" if hint else "one of " + ", ".join(known), hint
        )

    def warning(self, path: KeyPath, wrong: str, expected: str = "") -> None:
        """Note something that works but is probably not meant."""
        self._add(ProblemSeverity.WARNING, path, wrong, expected, "")

    def is_sound(self, path: KeyPath) -> bool:
        """Whether no error was noted at the key or below it."""
        return path not in self._wrong

    @property
    def failed(self) -> bool:
        """Whether any error was noted."""
        return bool(self._wrong)

    def in_order(self) -> list[Problem]:
        """Return the errors in the order of the file's lines, then the warnings."""
        return sorted(self.problems, key=lambda each: (each.severity is ProblemSeverity.WARNING, each.line))

    def _add(self, severity: ProblemSeverity, path: KeyPath, wrong: str, expected: str, hint: str) -> None:
        if severity is ProblemSeverity.ERROR:
            # The tables around it too: rules that rest on them cannot judge.
            self._wrong.update(path[:length] for length in range(len(path) + 1))
        line = self._line_of(path) if path else 0
        self.problems.append(Problem(severity, self._file, line, ".".join(path), wrong, expected, hint))

    def _line_of(self, path: KeyPath) -> int:
        if self._provenance is None:  # a sound file is never scanned
            self._provenance = scan(self._text)
        return self._provenance.line_of(path)
