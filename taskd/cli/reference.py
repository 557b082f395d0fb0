"""The reference page of taskctl, written from its commands.

``python -m taskd.cli.reference > docs/taskctl.md`` renews the page; a test compares.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

import click

from taskd.cli.taskctl import cli

_INTRODUCTION = """\
# taskctl

<!-- Written by `python -m taskd.cli.reference`; do not edit. -->

`taskctl [--config FILE] COMMAND`: see and steer a taskd daemon, its workers and its queues. The
configuration is the file named by `--config`, else by the environment variable `TASKD_CONFIG`, else
`./taskd.toml` (not for root), else `/etc/taskd.toml`. With `--socket PATH`, commands that speak only to
the daemon need no configuration.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | failed, or refused by the daemon; the message says why |
| 64 | wrong usage: a command, an option or a value that does not exist |
| 69 | nobody answers: the daemon is down, no permission for its socket, no worker |
| 75 | not in time (`--timeout`); the daemon may still be at work on it |
| 78 | the configuration is wrong |

Every command takes `--json` for programs, `--timeout` and `--help`. `taskctl completion bash|zsh|fish` prints
the completion of a shell. A moment is shown in your own zone with its offset, as in
`2027-03-28 03:00:00+02:00`.

With `--json` a command prints one object with `"version": 1`; a list stands in it by its name, as in
`{"version": 1, "queues": [...]}`. New keys may come at any time; the version grows when one is renamed or
removed. Three commands print one object a line: `top` prints such an object for each look; `events` and
`logs --follow` print each event or line as it is, without a version.
"""


def render() -> str:
    """Return the page as Markdown."""
    return "\n".join([_INTRODUCTION, *(_section(words, command) for words, command in _commands(cli, ()))])


def _commands(group: click.Group, before: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"the group lists {name}, which it does not have"
        if isinstance(command, click.Group):
            yield from _commands(command, (*before, name))
        else:
            yield (*before, name), command


def _section(words: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(("taskctl", *words)))
    pieces = " ".join(command.collect_usage_pieces(context))
    text, _, example = inspect.cleandoc(command.help or "").partition("Example: ")
    rows = [record for each in command.params if (record := _row(each, context))]
    lines = [f"## {' '.join(words)}", "", f"    taskctl {' '.join(words)} {pieces}", "", text.strip(), ""]
    if rows:
        lines += ["| option | meaning |", "|---|---|", *rows, ""]
    if example:
        lines += ["Example:", "", *(f"    {line}" for line in example.strip().splitlines()), ""]
    return "\n".join(lines)


def _row(parameter: click.Parameter, context: click.Context) -> str:
    record = parameter.get_help_record(context)
    if record is None or not isinstance(parameter, click.Option):
        return ""
    name, meaning = (" ".join(text.split()).replace("|", "\\|") for text in record)
    return f"| `{name}` | {meaning} |"


if __name__ == "__main__":
    sys.stdout.write(render())
