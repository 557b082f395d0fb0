"""Read the command line of Celery's programs, as it stands in a unit, a Procfile or a script.  Pure.

Others wrote these lines: they are read and never run, they have a bound, and unknown words are kept.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

#: A longer text is not a file of commands.
MOST_CHARACTERS = 1 << 20
MOST_WORDS = 10_000
#: No host starts more.
MOST_NODES = 1000

_SHORT: Mapping[str, str] = {
    "A": "app",
    "b": "broker",
    "n": "hostname",
    "S": "statedb",
    "l": "loglevel",
    "O": "optimization",
    "c": "concurrency",
    "P": "pool",
    "E": "task-events",
    "D": "detach",
    "Q": "queues",
    "X": "exclude-queues",
    "I": "include",
    "B": "beat",
    "s": "schedule",
    "f": "logfile",
    "q": "quiet",
    "C": "no-color",
}
#: Short options that mean another thing behind this verb.
_SHORT_OF: Mapping[str, Mapping[str, str]] = {"beat": {"S": "scheduler"}}
_LONG: Mapping[str, str] = {"events": "task-events", "discard": "purge", "schedule-filename": "schedule"}
_VARIABLES: Mapping[str, str] = {
    "broker": "CELERY_BROKER_URL",
    "result-backend": "CELERY_RESULT_BACKEND",
    "config": "CELERY_CONFIG_MODULE",
}
#: Options without a value.
_FLAGS = frozenset(
    {
        "task-events",
        "detach",
        "purge",
        "beat",
        "without-gossip",
        "without-mingle",
        "without-heartbeat",
        "disable-prefetch",
        "quiet",
        "no-color",
        "skip-checks",
        "no-execv",
    }
)
#: Verbs of Celery, and of the programs that add themselves to it.
_VERBS = frozenset({"worker", "beat", "multi", "flower", "events", "inspect", "control", "shell", "status"})
#: The option of a shell before a command of its own.
_SCRIPT = re.compile("-[a-z]*c")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.ASCII | re.DOTALL)


class CommandError(ValueError):
    """A text that cannot be read as a command line."""


@dataclass(frozen=True, slots=True)
class CeleryCommand:
    """One program of Celery's, as it is started."""

    #: ``worker``, ``beat``, ``flower``, …
    verb: str
    #: By their long names, without dashes; a flag has the value "".
    options: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    #: The whole line, word by word.
    words: tuple[str, ...] = ()
    #: Behind the verb, without a dash.
    arguments: tuple[str, ...] = ()
    #: In the words of the file that the command stands in.
    name: str = ""
    #: The program as it is named: a path of celery or of a Python, or a launcher such as ``poetry run``.
    runner: str = ""

    def given(self, option: str) -> str:
        """Return the value of an option; empty if it is not given."""
        return self.options.get(option, "")

    def variables(self) -> dict[str, str]:
        """Return the options that Celery hands on to its process as variables of the environment."""
        return {name: self.options[option] for option, name in _VARIABLES.items() if self.options.get(option)}


def words_of(text: str) -> list[str]:
    """Return the words of a command, as a shell splits it.  Raises: ``CommandError``."""
    if len(text) > MOST_CHARACTERS:
        raise CommandError(f"the command has more than {MOST_CHARACTERS} characters")
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise CommandError(f"the quotes of the command do not match: {error}") from error
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise CommandError("the command is not UTF-8 text")
    if len(words) > MOST_WORDS:
        raise CommandError(f"the command has more than {MOST_WORDS} words")
    return words


def read_command(text: str) -> CeleryCommand | None:
    """Return the command of Celery's in a line; None for a line that calls something else.

    Variables before it, ``exec``, ``sh -c '…'``, ``python -m celery`` and ``poetry run`` are seen through.
    Raises: ``CommandError``.
    """
    return read_words(words_of(text))


def read_words(words: Sequence[str], depth: int = 3) -> CeleryCommand | None:
    """Return the same of words."""
    environment: dict[str, str] = {}
    for position, word in enumerate(words):
        if _is_celery(word) and (found := _read(words[position:], environment)):
            return _run_by(found, words[:position])
        is_script = bool(_SCRIPT.fullmatch(word)) and depth > 0 and position + 1 < len(words)
        if is_script and _is_shell(words[:position]):
            found = read_words(words_of(words[position + 1]), depth - 1)
            return found and _with(found, environment)
        assigned = _ASSIGNMENT.fullmatch(word)
        if assigned:
            environment[assigned[1]] = assigned[2].removesuffix(";")  # export A=b; celery …
    return None


def _is_celery(word: str) -> bool:
    return posixpath.basename(word.lstrip("@-:+!")) == "celery"


def _is_shell(words: Iterable[str]) -> bool:
    return any(posixpath.basename(word) in ("sh", "bash", "dash") for word in words)


def _run_by(command: CeleryCommand, before: Sequence[str]) -> CeleryCommand:
    """Return the command with its program, which is a Python behind whose ``-m`` celery stands, or celery."""
    first = command.words[0].lstrip("@-:+!")
    words = (first, *command.words[1:])
    if len(before) > 1 and before[-1] == "-m" and _is_python(before[-2]):
        first = before[-2].lstrip("@-:+!")
        words = (first, "-m", *words)
        before = before[:-2]
    if "/" not in first and len(before) > 1 and before[-1] == "run":
        first = f"{posixpath.basename(before[-2])} run"
        words = (*before[-2:], *words)
    return replace(command, words=words, runner=first)


def _is_python(word: str) -> bool:
    return posixpath.basename(word.lstrip("@-:+!")).startswith("python")


def _with(command: CeleryCommand, environment: Mapping[str, str]) -> CeleryCommand:
    return replace(command, environment={**environment, **command.environment})


def _read(words: Sequence[str], environment: Mapping[str, str]) -> CeleryCommand | None:
    options, rest = read_options(words[1:], stop_at_argument=True)
    if not rest:
        return None
    verb, *behind = rest
    if verb not in _VERBS:  # a directory that is called celery, for one
        return None
    if verb == "multi":
        # Its options belong to nodes, which ``multi`` reads.
        return CeleryCommand(verb, options, environment, tuple(words), tuple(behind))
    further, arguments = read_options(behind, verb)
    return CeleryCommand(verb, {**options, **further}, environment, tuple(words), tuple(arguments))


def read_options(
    words: Sequence[str], verb: str = "", *, stop_at_argument: bool = False
) -> tuple[dict[str, str], list[str]]:
    """Return the options by their long names, and what is not an option."""
    options: dict[str, str] = {}
    rest: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            continue
        if not word.startswith("-") or word == "-":
            rest.append(word)
            if stop_at_argument:
                return options, [*rest, *words[position:]]
            continue
        name, value, needs_value = option_of(word, verb)
        if needs_value and position < len(words):
            value = words[position]
            position += 1
        options[name] = value
    return options, rest


def option_of(word: str, verb: str = "worker") -> tuple[str, str, bool]:
    """Return the long name of an option, its value, and whether that is the next word."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        name = _LONG.get(name, name)
        return name, value, not equals and name not in _FLAGS
    short = word[1:2]
    name = _SHORT_OF.get(verb, {}).get(short) or _SHORT.get(short, short)
    value = word[2:].removeprefix("=")
    return name, "" if name in _FLAGS else value, not value and name not in _FLAGS
