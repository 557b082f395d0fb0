"""Find, read and check the configuration file.  The one importer of tomllib.

``check`` reports every problem of a file at once; ``load`` is for programs that cannot run without a
sound file.  Light to import: the supervisor does.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

from taskd.base.errors import ConfigError
from taskd.config.daemon import SupervisorConfig
from taskd.config.file_value import substitute
from taskd.config.machine import check_machine
from taskd.config.problems import Problem, ProblemSeverity, unforeseen
from taskd.config.provenance import KeyPath, scan
from taskd.config.report import ProblemReport
from taskd.config.rules import check_rules, with_absolute_paths
from taskd.config.schema import Config
from taskd.config.tables import Table, read_document
from taskd.config.where import DEFAULT_PATH, LOCAL_NAME, PATH_VARIABLE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_CONTROL_SOCKET = re.compile(r"""^[ \t]*control_socket[ \t]*=[ \t]*(?:"([^"\n]+)"|'([^'\n]+)')""", re.M)
# tomllib ends its messages with the place.
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(path: str, environ: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration in the file.

    Raises: ``ConfigError`` whose message lists all errors, one a line; warnings are passed over.
    """
    config, problems = check(path, environ)
    if config is None:
        errors = [str(problem) for problem in problems if problem.severity is ProblemSeverity.ERROR]
        raise ConfigError("\n".join(errors))
    return config


def control_socket_in(path: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the control socket that a file names, whatever else may be wrong in it; None if it names none.

    For whoever has to reach the daemon that was started from an earlier state of the file.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    found = _CONTROL_SOCKET.search(text)  # the only table with a key of that name is [supervisor]
    named = SupervisorConfig().control_socket
    if found is not None:
        named = substitute(found[1] or found[2], (), ProblemReport(path, text, environ)) or ""
    return os.path.join(os.path.dirname(os.path.abspath(path)), named) if named else None


def check(
    path: str, environ: Mapping[str, str] = os.environ, *, machine: bool = False
) -> tuple[Config | None, list[Problem]]:
    """Return the configuration, None if it has errors, and every problem: errors by line, then warnings.

    ``machine``: also whether this machine has the users, commands and files that it names.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        return None, [_unreadable(path, error)]
    return check_bytes(data, path, environ, machine=machine)


def check_bytes(
    data: bytes, path: str, environ: Mapping[str, str] = os.environ, *, machine: bool = False
) -> tuple[Config | None, list[Problem]]:
    """Do as ``check`` with the contents of the file at ``path``, which is not opened.

    Never raises: an error of the checker itself is a problem of the file too, because whoever asks may be
    a daemon at work.
    """
    try:
        return _check_bytes(data, path, environ, machine=machine)
    except Exception as error:  # noqa: BLE001 - the barrier
        return None, [
            Problem(ProblemSeverity.ERROR, path, 0, "", unforeseen(error), "a file that taskd can check")
        ]


def _check_bytes(
    data: bytes, path: str, environ: Mapping[str, str], *, machine: bool
) -> tuple[Config | None, list[Problem]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        return None, [Problem(ProblemSeverity.ERROR, path, line, "", wrong, "text in UTF-8")]
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [_malformed(path, text, str(error))]
    except RecursionError:
        return None, [_malformed(path, text, "values are nested too deeply (at line 1, column 1)")]
    except ValueError:  # a number beyond what Python converts (sys.set_int_max_str_digits), or no date
        return None, [_malformed(path, text, "a number or a date is out of range")]
    return _check_document(document, path, text, environ, machine=machine)


def _check_document(
    document: Table, path: str, text: str, environ: Mapping[str, str], *, machine: bool
) -> tuple[Config | None, list[Problem]]:
    report = ProblemReport(path, text, environ)
    _check_integers(document, (), report)
    if report.failed:
        return None, report.in_order()
    absolute = os.path.abspath(path)
    config = with_absolute_paths(read_document(document, absolute, report), os.path.dirname(absolute))
    check_rules(config, report)
    if machine and not report.failed:
        check_machine(config, report)
    return None if report.failed else config, report.in_order()


def _check_integers(value: object, path: KeyPath, report: ProblemReport) -> None:
    """Note integers beyond those of TOML (64 bits), which no option can use and floats cannot hold."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_integers(inner, (*path, key), report)
    elif isinstance(value, list):
        for inner in value:
            _check_integers(inner, path, report)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        report.error(path, "the number is too large", "a whole number of at most 64 bits, as in TOML")


def _unreadable(path: str, error: OSError) -> Problem:
    places = f"by {PATH_VARIABLE}, or at ./{LOCAL_NAME} (not for root) or {DEFAULT_PATH}"
    expected = f"a configuration file, named by --config FILE, {places}"
    if isinstance(error, PermissionError):
        expected = "a file that this user may read: be root or the user of taskd, or in the file's group"
    wrong = f"the file cannot be read ({error.strerror or error})"
    return Problem(ProblemSeverity.ERROR, path, 0, "", wrong, expected)


# The reader's errors for the most frequent mistakes, and their meaning for the author of the file.
_IN_WORDS = (
    ("Cannot overwrite a value", "the key stands twice in its table"),
    ("Cannot declare", "the table stands twice"),
    ("Invalid value", "the value cannot be read; a text needs quotes, and true and false have no capitals"),
    ("Expected '='", "expected a line KEY = VALUE"),
    ("Invalid statement", "expected a line KEY = VALUE, or a table [NAME]"),
    ("Illegal character '\\n'", "the text has no quote at its end"),
)


def _malformed(path: str, text: str, message: str) -> Problem:
    place = _PLACE.search(message)
    wrong = message[: place.start()] if place else message
    wrong = next((words for begin, words in _IN_WORDS if wrong.startswith(begin)), wrong)
    if place is not None and place[1] is not None:
        first = _first_of(text, int(place[1]), message)
        if first:
            wrong += f", first on line {first}"
    if place is None or place[1] is None:
        line = text.count("\n") + (not text.endswith("\n"))
        return Problem(ProblemSeverity.ERROR, path, line, "", f"not TOML at the end of the file: {wrong}")
    return Problem(ProblemSeverity.ERROR, path, int(place[1]), "", f"not TOML at column {place[2]}: {wrong}")


_TWICE = re.compile(r"Cannot declare \((.*)\) twice")
_HEADER = re.compile(r"^[ \t]*\[([^\[\]\n]+)\]", re.M)


def _first_of(text: str, line: int, message: str) -> int:
    """Return the line on which the table or key of this line stands for the first time; 0 if unknown."""
    before = "".join(text.splitlines(keepends=True)[: line - 1])
    twice = _TWICE.match(message)
    if twice is not None:
        path = tuple(re.findall(r"'([^']*)'", twice[1]))
    elif message.startswith("Cannot overwrite a value"):
        header = _HEADER.findall(before)
        key = text.splitlines()[line - 1].partition("=")[0]
        path = tuple(part.strip(" \t\"'") for part in ".".join([*header[-1:], key]).split("."))
    else:
        return 0
    return scan(before).lines.get(path, 0)
