"""``taskctl beat add``, ``set`` and ``remove``: entries made at run time.

They go straight to the store, with a wake-up for the beats; a daemon that is down finds them when it starts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TypeVar

import click

from taskd.base import exit_codes
from taskd.beat.entries import EntrySource, keys_of
from taskd.cli.beat.when import key_option
from taskd.cli.entries import View, look, opened, operator
from taskd.cli.offers import entry_argument
from taskd.cli.output import Failure, echo_json, json_option, printable
from taskd.cli.session import Session, json_list, json_object, pass_session
from taskd.config.declared import declared_entry, declared_when
from taskd.config.option import ValueForm
from taskd.config.schedule import BeatEntryConfig, WhenConfig
from taskd.config.tables import options

R = TypeVar("R")
Keys = Mapping[str, object]

_WHEN = frozenset(each.name for each in fields(WhenConfig))
#: Keys of which an entry has one; giving another kind takes the place of the former.
_KINDS = frozenset({"every", "cron", "at", "solar"})
#: Keys that belong to one kind only.
_BELONGINGS = {"every": ("align",), "cron": ("cron_days", "dst_overlap"), "solar": ("latitude", "longitude")}


def _entry_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add EXPRESSION and an option for each key of an entry; the command gets those that were given."""
    known = options(BeatEntryConfig)

    @functools.wraps(command)
    def run(*args: object, **kwargs: object) -> R:
        given = {key: kwargs.pop(key) for key in known}
        keys = {key: value for key, value in given.items() if value is not None}
        return command(*args, keys=keys, **kwargs)

    wrapped: Callable[..., R] = run
    for key, (option, _) in reversed(known.items()):
        if option.kind is ValueForm.ANY_LIST:
            wrapped = click.option(f"--{key}", key, type=json_list, help=f"{option.help[:-1]}, as JSON.")(
                wrapped
            )
        elif option.kind is ValueForm.ANY_MAP:
            wrapped = click.option(f"--{key}", key, type=json_object, help=f"{option.help[:-1]}, as JSON.")(
                wrapped
            )
        elif key != "cron":
            wrapped = key_option(key, option)(wrapped)
    # After NAME, which the decorators above this one add.
    return click.argument("cron", metavar="[EXPRESSION]", required=False)(wrapped)


def _made(name: str, keys: Keys) -> BeatEntryConfig:
    """Return a checked entry.  Raises: ``ConfigError`` with every problem."""
    when = declared_when({key: value for key, value in keys.items() if key in _WHEN})
    return declared_entry(name, when, {key: value for key, value in keys.items() if key not in _WHEN})


def _tell(entry: BeatEntryConfig, done: str, view: View, *, as_json: bool) -> int:
    doubt = view.doubt(entry.task)
    if doubt:
        click.echo(printable(f"taskctl: warning: {doubt}"), err=True)
    if as_json:
        echo_json({"entry": keys_of(entry), "done": done, "warning": doubt})
    else:
        click.echo(printable(f"{entry.name}: {done}"))
    return exit_codes.OK


@click.command()
@click.argument("name")
@_entry_options
@json_option
@pass_session
def add(session: Session, *, name: str, keys: Keys, as_json: bool) -> int:
    """Add an entry that is sent from now on.

    EXPRESSION is five cron fields or a nickname such as @daily. --every, --at and --solar take its place.
    The new entry hides one of the same name in the file or in the app's code until you remove it.

    Example: taskctl beat add cleanup "0 4 * * sun" --task shop.cleanup --zone Europe/Berlin
    """
    if "task" not in keys:
        raise click.UsageError("--task is missing: the name of the task to send")
    entry = _made(name, keys)
    with opened(session.config) as store:
        view = look(session.config, store)
        if name in view.listing.by_source[EntrySource.RUN_TIME]:
            raise Failure(f'there is an entry "{name}" already; change it with: taskctl beat set {name} ...')
        store.put(entry, operator())
    listed = view.listing.listed(name)
    hidden = "" if listed is None else f", hides the one of the {listed.source.value}"
    return _tell(entry, f"added{hidden}", view, as_json=as_json)


@click.command("set")
@entry_argument
@_entry_options
@json_option
@pass_session
def set_(session: Session, *, name: str, keys: Keys, as_json: bool) -> int:
    """Change keys of an entry; keys that are not given stay.

    An entry of the file or of the app's code is copied, and the copy hides it; `taskctl beat remove` brings
    it back. With another schedule the entry counts from now on, and has missed no run.

    Example: taskctl beat set cleanup --queue slow --overlap skip
    """
    if not keys:
        raise click.UsageError("there is nothing to change; see --help for the keys")
    with opened(session.config) as store:
        view = look(session.config, store)
        former = view.require(name)
        entry = _made(name, _merged(keys_of(former.entry), keys))
        store.put(entry, operator())
    hidden = "" if former.source is EntrySource.RUN_TIME else f", hides the one of the {former.source.value}"
    return _tell(entry, f"changed{hidden}", view, as_json=as_json)


def _merged(former: Keys, changes: Keys) -> Keys:
    kept = {key: value for key, value in former.items() if key != "name"}
    if _KINDS & changes.keys():
        for kind in _KINDS - changes.keys():
            for key in (kind, *_BELONGINGS.get(kind, ())):
                kept.pop(key, None)
    return {**kept, **changes}


@click.command()
@entry_argument
@json_option
@pass_session
def remove(session: Session, *, name: str, as_json: bool) -> int:
    """Remove an entry that was added or changed at run time; one that it hid counts again.

    To remove an entry of the file or of the app's code, delete it there; `taskctl beat pause` stops it.

    Example: taskctl beat remove cleanup
    """
    with opened(session.config) as store:
        view = look(session.config, store)
        listed = view.require(name)
        if listed.source is not EntrySource.RUN_TIME or not store.remove(name, operator()):
            where = session.config_path if listed.source is EntrySource.FILE else "the app's code"
            raise Failure(f'"{name}" stands in {where}: remove it there, or: taskctl beat pause {name}')
        back = f", the one of the {listed.shadows[0].value} counts again" if listed.shadows else ""
    return _tell(listed.entry, f"removed{back}", View(), as_json=as_json)
