"""Read ``celery multi start w1 w2 -c:w1 4 -Q:2 slow``: one worker command for each node.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from taskd.cli.importing.command_line import MOST_NODES, CeleryCommand, CommandError, option_of

_OF_MULTI = frozenset(
    {"cmd", "append", "prefix", "suffix", "range-prefix", "executable", "verbose", "nosplash"}
)
_STARTS = frozenset({"start", "restart", "show", "expand", "names"})


def workers_of(command: CeleryCommand) -> list[CeleryCommand]:
    """Return a worker command for each node that a ``multi`` starts; none for one that starts nothing.

    Raises: ``CommandError``.
    """
    if not command.arguments or command.arguments[0] not in _STARTS:
        return []
    options, by_node, names = _read(command.arguments[1:])
    prefix = ""
    if len(names) == 1 and names[0].isascii() and names[0].isdigit() and len(names[0]) < 10:
        count = int(names[0])
        if count > MOST_NODES:
            raise CommandError(f"celery multi starts {count} nodes; expected up to {MOST_NODES}")
        prefix = options.get("range-prefix") or "celery"
        names = [str(number) for number in range(1, count + 1)]
    if len(names) > MOST_NODES:
        raise CommandError(f"celery multi starts {len(names)} nodes; expected up to {MOST_NODES}")
    prefix = options.get("prefix", prefix)
    own: dict[str, dict[str, str]] = {}
    for wanted, given in by_node.items():
        for name in _nodes(wanted, names):
            own.setdefault(name, {}).update(given)
    common = {**command.options, **{key: value for key, value in options.items() if key not in _OF_MULTI}}
    found = []
    for name in names:
        node = name if "@" in name else f"{prefix}{name}@%h"
        short = node.partition("@")[0]
        merged = {**common, "hostname": node, **own.get(name, {}), **own.get(short, {})}
        found.append(replace(command, verb="worker", options=merged, arguments=(), name=short))
    return found


def _read(words: Sequence[str]) -> tuple[dict[str, str], dict[str, dict[str, str]], list[str]]:
    """Return options of all nodes, options by what names the nodes, and the names of nodes."""
    options: dict[str, str] = {}
    by_node: dict[str, dict[str, str]] = {}
    names: list[str] = []
    position = 0
    while position < len(words) and words[position] != "--":
        word = words[position]
        position += 1
        if not word.startswith("-") or word == "-":
            names.append(word)
            continue
        spelled, equals, value = word.partition("=")
        spelled, colon, wanted = spelled.partition(":")
        name, attached, _ = option_of(spelled)
        value = value if equals else attached
        # As in Celery: only short options take the next word, if it is not an option.
        is_short = not word.startswith("--")
        if is_short and not value and position < len(words) and not words[position].startswith("-"):
            value = words[position]
            position += 1
        (by_node.setdefault(wanted, {}) if colon else options)[name] = value
    return options, by_node, names


def _nodes(wanted: str, names: Sequence[str]) -> Iterator[str]:
    """Yield the nodes that ``1,3-5,w2`` means: names, or their places in the line."""
    for part in wanted.split(","):
        first, dash, last = part.partition("-")
        if part in names:
            yield part
        elif _is_place(first) and (not dash or _is_place(last)):
            for place in range(int(first), min(int(last or first), len(names)) + 1):
                if place >= 1:
                    yield names[place - 1]
        else:
            yield part


def _is_place(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
