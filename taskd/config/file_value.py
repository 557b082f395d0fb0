"""One TOML value on its way to an option: the text of the file, and the problem when it will not do.

Values may hold secrets by way of ``${NAME}``.  Messages quote the text as it stands in the file, never what
was put in, and of an option marked secret nothing at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from taskd.config.option import Applies, ValueForm
from taskd.config.provenance import KeyPath
from taskd.config.report import ProblemReport

_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

#: The answer of a converter that has noted a problem.
BAD = object()


@dataclass(frozen=True, slots=True)
class Option:
    """One key of the schema: a typed view of the metadata that ``schema.option`` writes."""

    kind: ValueForm
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    group: str
    secret: bool
    applies: Applies


@dataclass(frozen=True, slots=True)
class FileValue:
    """A value as it stands in the file (``raw``), and as text with its variables put in."""

    option: Option
    raw: object
    text: str
    path: KeyPath
    report: ProblemReport

    @property
    def shown(self) -> str:
        """The value for a message."""
        return "the value" if self.option.secret else show(self.raw)

    @property
    def substituted(self) -> bool:
        """Whether the text holds the value of a variable."""
        return isinstance(self.raw, str) and self.text != self.raw

    def bad(self, expected: str, wrong: str = "") -> object:
        """Note the problem and return ``BAD``."""
        self.report.error(self.path, wrong or f"{self.shown} is not accepted", expected)
        return BAD


def show(value: object) -> str:
    """Return a TOML value for a message, short and without its contents when it is a container."""
    match value:
        case str():
            return f'"{value if len(value) <= 60 else value[:57] + "..."}"'
        case bool():
            return str(value).lower()
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return str(value)


def substitute(text: str, path: KeyPath, report: ProblemReport) -> str | None:
    """Put the environment's values in the place of ``${NAME}``; ``$${`` is a plain ``${``.

    ``${NAME:-text}`` is the text where the variable is not defined or empty, as in a shell.
    None after noting a variable that is not defined.
    """
    if "${" not in text:
        return text
    sound = True

    def value_of(match: re.Match[str]) -> str:
        nonlocal sound
        if match[1]:
            return match[1]
        name, has_default, default = match[2].partition(":-")
        if not _VARIABLE_NAME.fullmatch(name):
            report.error(path, "a ${...} does not name a variable", '"${NAME}", or "$${" for a plain "${"')
        elif has_default and not report.environ.get(name):
            return default
        elif name not in report.environ:
            report.error(
                path, f"the environment variable {name} is not defined", f"{name} in the daemon's environment"
            )
        else:
            return report.environ[name]
        sound = False
        return ""

    result = _VARIABLE.sub(value_of, text)
    return result if sound else None
