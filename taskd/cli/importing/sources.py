"""Read files that start Celery: systemd units, Procfiles, the defaults of its init script, scripts.  Pure.

Nothing of them is run.  Variables are put in once, from the file itself, and a result has a bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from taskd.cli.importing.command_line import (
    MOST_CHARACTERS,
    CeleryCommand,
    CommandError,
    read_command,
    words_of,
)
from taskd.cli.importing.multi import workers_of

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_ASSIGNED = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.ASCII)
_PROCESS = re.compile(r"([A-Za-z0-9_-]+):\s+(\S.*)", re.ASCII)
_MOST_EXPANDED = 1 << 16
_MOST_COMMANDS = 1000


@dataclass(frozen=True, slots=True)
class CeleryStart:
    """One command with its surroundings."""

    command: CeleryCommand
    directory: str = ""
    user: str = ""
    group: str = ""
    env_files: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def starts_in(text: str, name: str = "", variables: Mapping[str, str] | None = None) -> list[CeleryStart]:
    """Return every start of Celery in a file of any of these kinds; ``name`` is the file's.

    ``variables`` are those of files that a unit names.  Raises: ``CommandError``.
    """
    if len(text) > MOST_CHARACTERS:
        raise CommandError(f"the file has more than {MOST_CHARACTERS} characters")
    known = variables or {}
    lines = _whole_lines(text)
    if any(line.strip() == "[Service]" for line in lines):
        found = _of_unit(lines, known, name)
    else:
        assigned = dict(assignments(text))
        found = [
            *_of_defaults(assigned),
            *(start for line in lines for start in _of_line(line, {**known, **assigned})),
        ]
    if len(found) > _MOST_COMMANDS:
        raise CommandError(f"the file starts more than {_MOST_COMMANDS} programs")
    return found


def env_files_of(text: str) -> list[str]:
    """Return the files of variables that a unit names."""
    return [
        value.removeprefix("-") for key, value in _settings(_whole_lines(text)) if key == "EnvironmentFile"
    ]


def assignments(text: str) -> Iterator[tuple[str, str]]:
    """Yield the variables that a file of ``NAME=value`` lines sets, as a shell would for plain values."""
    known: dict[str, str] = {}
    for line in _whole_lines(text):
        found = _ASSIGNED.fullmatch(line.strip())
        if found:
            try:
                value = " ".join(words_of(found[2]))
            except CommandError:
                continue
            known[found[1]] = expanded(value, known)
            yield found[1], known[found[1]]


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


def _whole_lines(text: str) -> list[str]:
    """Return the lines, those joined that end with a backslash; without comments."""
    joined = re.sub(r"\\\r?\n", " ", text)
    return [line for line in joined.splitlines() if line.strip() and line.strip()[0] not in "#;"]


def _settings(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the settings of a unit's section ``[Service]``."""
    section = ""
    for line in lines:
        if line.strip().startswith("["):
            section = line.strip()
        elif section == "[Service]":
            key, equals, value = line.partition("=")
            if equals:
                yield key.strip(), value.strip()


def _of_unit(lines: Sequence[str], variables: Mapping[str, str], name: str) -> list[CeleryStart]:
    settings = list(_settings(lines))
    own: dict[str, str] = {}
    for key, value in settings:
        if key == "Environment":
            found_here = (_ASSIGNED.fullmatch(each) for each in _words_or_none(value))
            own.update((each[1], each[2]) for each in found_here if each)
    single = {key: value for key, value in settings if key in ("WorkingDirectory", "User", "Group")}
    files = tuple(value.removeprefix("-") for key, value in settings if key == "EnvironmentFile")
    found: list[CeleryStart] = []
    for key, value in settings:
        if key != "ExecStart":
            continue
        # In a unit %% is a percent sign, and the prefixes of systemd(1) stand before the program.
        line = expanded(value.lstrip("@-:+!").replace("%%", "%"), {**variables, **own})
        found += [
            CeleryStart(
                replace(command, name=command.name or _unit_name(name)),
                directory=command.given("workdir") or single.get("WorkingDirectory", "").lstrip("-~"),
                user=command.given("uid") or single.get("User", ""),
                group=command.given("gid") or single.get("Group", ""),
                env_files=files,
                environment={**own, **command.environment},
            )
            for command in _commands(line)
        ]
    return found


def _unit_name(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".service").rstrip("@")


def _of_defaults(variables: Mapping[str, str]) -> list[CeleryStart]:
    """Return the nodes that the variables of Celery's init script start."""
    app = variables.get("CELERY_APP", "")
    nodes = variables.get("CELERYD_NODES", "")
    if not nodes and not app:
        return []
    line = f"celery {f'-A {app}' if app else ''} multi start {nodes or 'celery'} "
    log = variables.get("CELERYD_LOG_LEVEL", "")
    line += f"{f'--loglevel={log} ' if log else ''}{variables.get('CELERYD_OPTS', '')}"
    return [
        CeleryStart(
            command,
            directory=variables.get("CELERYD_CHDIR", ""),
            user=variables.get("CELERYD_USER", ""),
            group=variables.get("CELERYD_GROUP", ""),
        )
        for command in _commands(expanded(line, variables))
    ]


def _of_line(line: str, variables: Mapping[str, str]) -> Iterator[CeleryStart]:
    """Yield the starts in a line of a Procfile or of a script."""
    if _ASSIGNED.fullmatch(line.strip()) and "celery" not in line.rpartition("=")[2]:
        return
    process = _PROCESS.fullmatch(line.strip())
    name, rest = (process[1], process[2]) if process else ("", line)
    if "celery" not in rest:
        return
    for command in _commands(expanded(rest, variables)):
        yield CeleryStart(
            replace(command, name=command.name or name),
            directory=command.given("workdir"),
            user=command.given("uid"),
            group=command.given("gid"),
            environment=command.environment,
        )


def _commands(line: str) -> list[CeleryCommand]:
    found = read_command(line)
    if found is None:
        return []
    return workers_of(found) if found.verb == "multi" else [found]


def _words_or_none(text: str) -> list[str]:
    try:
        return words_of(text)
    except CommandError:
        return []
