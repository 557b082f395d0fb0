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
from taskd.cli.importing.shell import ShellVariables, expanded
from taskd.cli.importing.unit_settings import left_out_of

_ASSIGNED = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.ASCII)
_PROCESS = re.compile(r"([A-Za-z0-9_-]+):\s+(\S.*)", re.ASCII)
#: Variables of Celery's init scripts, which no program of the app reads.
_OF_INIT = re.compile(
    r"CELERY(D|BEAT|EV)_(NODES|OPTS|CHDIR|USER|GROUP|LOG_LEVEL|LOG_FILE|PID_FILE|MULTI|SU|SU_ARGS)"
    r"|CELERY_(BIN|APP|CREATE_DIRS|CREATE_LOGDIR|CREATE_RUNDIR)|CELERY(D|BEAT|EV)"
)
_ACTIVATE = re.compile(r"""["']?([^"'$`]+)/bin/activate["']?""")
_SOURCED = re.compile(r"(?:\.|source)\s+([^\s;&|]+)")
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
    #: The Python that runs it, where that is not the one that runs this process.
    interpreter: str = ""
    #: The virtualenv that its script activates.
    virtualenv: str = ""
    #: Variables of its environment whose values are not in the file.
    unread: tuple[str, ...] = ()
    #: Lines about parts of its file that systemd or a shell alone can read.
    not_read: tuple[str, ...] = ()
    #: Lines about parts of its file that have no key here.
    left_out: tuple[str, ...] = ()


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
        found = _of_script(lines, {**known, **dict(assignments(text))})
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
    shell = ShellVariables()
    for line in _whole_lines(text):
        for name in shell.take(line):
            yield name, shell.known[name]


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
    unread: list[str] = []
    for key, value in settings:
        if key == "Environment":
            for each in filter(None, map(_ASSIGNED.fullmatch, _words_or_none(value))):
                own[each[1]] = each[2].replace("%%", "%")
                if _has_specifier(each[2]):
                    unread.append(each[1])
    single = {key: value for key, value in settings if key in ("WorkingDirectory", "User", "Group")}
    told = [f"{key}={value}" for key, value in single.items() if _has_specifier(value)]
    single = {key: value.replace("%%", "%") for key, value in single.items() if not _has_specifier(value)}
    files = tuple(value.removeprefix("-") for key, value in settings if key == "EnvironmentFile")
    told += [f"EnvironmentFile={each}" for each in files if _has_specifier(each)]
    files = tuple(each.replace("%%", "%") for each in files if not _has_specifier(each))
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
                environment={
                    **{each: own[each] for each in own if each not in unread},
                    **command.environment,
                },
                unread=tuple(unread),
                not_read=tuple(
                    f"{each} is left out, for systemd puts its % in; write its value if needed"
                    for each in told
                ),
                left_out=tuple(left_out_of(settings)),
            )
            for command in _commands(line)
        ]
    return found


def _has_specifier(value: str) -> bool:
    """Return whether systemd puts something of the machine or the unit's instance into a value."""
    return "%" in value.replace("%%", "")


def _unit_name(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".service").rstrip("@")


def _of_script(lines: Sequence[str], variables: Mapping[str, str]) -> list[CeleryStart]:
    """Return the starts of a script or a Procfile; each has what is exported above it."""
    shell = ShellVariables()
    found: list[CeleryStart] = []
    others: list[str] = []
    sourced: list[str] = []
    virtualenv = ""
    is_procfile = False
    for line in lines:
        shell.take(line)
        read = _SOURCED.match(line.strip())
        if read and (activate := _ACTIVATE.fullmatch(read[1])):
            virtualenv = activate[1]
        elif read:
            sourced.append(
                f"the app was imported without the variables of {read[1]}; set them and import again, "
                "and name the file in env_file of the worker"
            )
        starts = [
            replace(each, not_read=tuple(sourced), virtualenv=virtualenv)
            for each in _of_line(line, variables, shell)
        ]
        process = _PROCESS.fullmatch(line.strip())
        is_procfile = is_procfile or bool(process and starts)
        if process and not starts:
            others.append(f"{process[1]}: it does not start Celery; a [program] of taskd may run it")
        found += starts
    if is_procfile:
        found = [replace(start, left_out=tuple(others)) for start in found]
    defaults = _of_defaults(variables, shell)
    return [*(replace(start, not_read=tuple(sourced)) for start in defaults), *found]


def _of_defaults(variables: Mapping[str, str], shell: ShellVariables) -> list[CeleryStart]:
    """Return the nodes, and the beat, that the variables of Celery's init scripts start."""
    app = variables.get("CELERY_APP", "")
    nodes = variables.get("CELERYD_NODES", "")
    celery = f"{_program(variables)} {f'-A {app}' if app else ''}"
    lines: list[tuple[str, str]] = []
    if nodes or app:
        log = variables.get("CELERYD_LOG_LEVEL", "")
        line = f"{celery} multi start {nodes or 'celery'} {f'--loglevel={log} ' if log else ''}"
        lines.append(("CELERYD", line + variables.get("CELERYD_OPTS", "")))
    if "CELERYBEAT_OPTS" in variables:
        lines.append(("CELERYBEAT", f"{celery} beat {variables['CELERYBEAT_OPTS']}"))
    return [
        CeleryStart(
            command,
            directory=variables.get(f"{prefix}_CHDIR", ""),
            user=variables.get(f"{prefix}_USER", ""),
            group=variables.get(f"{prefix}_GROUP", ""),
            environment=_exported(shell),
            unread=shell.unread,
        )
        for prefix, line in lines
        for command in _commands(expanded(line, variables))
    ]


def _program(variables: Mapping[str, str]) -> str:
    """Return the program of the init scripts, such as ``/srv/venv/bin/celery`` or ``python -m celery``."""
    given = variables.get("CELERY_BIN", "")
    return given if re.search(r"\bcelery$", given) and "$" not in given else "celery"


def _exported(shell: ShellVariables) -> dict[str, str]:
    return {name: value for name, value in shell.exported.items() if not _OF_INIT.fullmatch(name)}


def _of_line(line: str, variables: Mapping[str, str], shell: ShellVariables) -> Iterator[CeleryStart]:
    """Yield the starts in a line of a Procfile or of a script."""
    process = _PROCESS.fullmatch(line.strip())
    name, rest = (process[1], process[2]) if process else ("", line)
    if "celery" not in rest:
        return
    try:
        commands = _commands(expanded(rest, variables))
    except CommandError:
        if _ASSIGNED.fullmatch(line.strip()):
            return  # a value of several lines
        raise
    for command in commands:
        inline = {key: value for key, value in command.environment.items() if key not in shell.unread}
        yield CeleryStart(
            replace(command, name=command.name or name),
            directory=command.given("workdir"),
            user=command.given("uid"),
            group=command.given("gid"),
            environment={**_exported(shell), **inline},
            unread=shell.unread,
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
