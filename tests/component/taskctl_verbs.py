"""Every verb of taskctl, found by itself, so that one that comes is tested, too."""

from __future__ import annotations

import click

from taskd.cli.taskctl import cli


def commands(group: click.Group, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Return the verbs of a group, and those of the groups in it, by the words that call them."""
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append(((*prefix, name), command))
        if isinstance(command, click.Group):
            found += commands(command, (*prefix, name))
    return found


VERBS = commands(cli)
LEAVES = [(words, command) for words, command in VERBS if not isinstance(command, click.Group)]
#: What these verbs refuse to go without.
WORDS = {
    ("scale",): ["main", "2"],
    ("rate-limit",): ["shop.add", "10/m"],
    ("revoke",): ["x"],
    ("dlq", "show"): ["1"],
    ("dlq", "requeue"): ["1"],
    ("dlq", "purge"): ["1"],
    ("beat", "add"): ["x", "--task", "t", "--every", "1m"],
    ("beat", "set"): ["x", "--every", "1m"],
    ("config", "explain"): ["broker"],
    ("completion",): ["bash"],
}


def call_of(words: tuple[str, ...], command: click.Command) -> list[str]:
    """Return a call of a verb with something for each word that it needs, and a time limit."""
    needed = [each for each in command.params if isinstance(each, click.Argument) and each.required]
    given = [*words, *WORDS.get(words, [("1" if each.type is click.INT else "x") for each in needed])]
    if any("--yes" in parameter.opts for parameter in command.params):
        given.append("--yes")
    return [*given, "--timeout", "1s"]
