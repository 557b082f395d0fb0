"""The verbs of ``taskctl store``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import TypeVar

import click

from taskd.base import exit_codes
from taskd.base.errors import StorageError
from taskd.base.formats import FormatMark
from taskd.cli.groups import CommandGroup
from taskd.cli.output import Failure, echo_json, echo_table, json_option, printable, size
from taskd.cli.session import Session, pass_session
from taskd.cli.store.durable import NAMES, Durable, by_place, chosen
from taskd.storage.upkeep import Extent, Upkeep

_COLUMNS = ("STORE", "FORMAT", "STATE", "SIZE", "LIVE", "DEAD", "PLACE")
_NOT_MADE = "not made yet"
_CURRENT = "current"

Command = TypeVar("Command", bound=Callable[..., object])

names_argument = click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[STORE]...")


@click.group(cls=CommandGroup)
def store() -> None:
    """See and keep in order the files and keys in which taskd keeps its data.

    STORE is broker, results, revoked, beat or deaths; without one, all of them.  The daemon may run.

    Example: taskctl store status
    """


@store.command()
@names_argument
@json_option
@pass_session
def status(session: Session, *, names: Sequence[str], as_json: bool) -> int:
    """Show the format and the size of each store.

    Live bytes hold data.  Dead bytes are free pages, which taskd gives back by itself when it has not needed
    them for some minutes, and the log of the file.  A server such as Redis keeps its memory itself.

    Example: taskctl store status
    """
    rows = [(each, *_look(each.upkeep)) for each in chosen(session.config, names)]
    if as_json:
        echo_json({"stores": [_facts(*row) for row in rows]})
    else:
        echo_table(_COLUMNS, [_row(*row) for row in rows], right=("FORMAT", "SIZE", "LIVE", "DEAD"))
        for each, _, _, extent in rows:
            if extent is not None and not extent.shrinks:
                click.echo(f"\n{each.name} does not shrink by itself: taskctl store compact {each.name}")
    return exit_codes.OK


@store.command()
@names_argument
@json_option
@pass_session
def upgrade(session: Session, *, names: Sequence[str], as_json: bool) -> int:
    """Bring stores to the format of this taskd.

    Each program does this by itself when it opens a store; here it is done ahead of them.  A kill leaves the
    former format or the new one, never a mixture.

    Example: taskctl store upgrade broker
    """
    changed = []
    for each in chosen(session.config, names):
        before = _sound_mark(each.upkeep)
        if before is not None and each.upkeep.formats.due(before):
            each.upkeep.bring_up()
            changed.append({"store": each.name, "from": before.format, "to": each.upkeep.formats.format})
    if as_json:
        echo_json({"upgraded": changed})
    for step in [] if as_json else changed:
        click.echo(f"{step['store']}: format {step['from']} -> {step['to']}")
    if not changed and not as_json:
        click.echo("nothing to upgrade")
    return exit_codes.OK


@store.command()
@names_argument
@json_option
@pass_session
def check(session: Session, *, names: Sequence[str], as_json: bool) -> int:
    """Read each store as a whole and show what is wrong with it.

    Example: taskctl store check
    """
    found = [
        {"store": each.name, "place": each.upkeep.place, "problem": problem}
        for each in chosen(session.config, names)
        for problem in _problems(each.upkeep)
    ]
    if as_json:
        echo_json({"ok": not found, "problems": found})
    else:
        for row in found:
            click.echo(printable(f"{row['store']}: {row['place']}: {row['problem']}"), err=True)
        if not found:
            click.echo("all stores are sound")
    return exit_codes.FAILURE if found else exit_codes.OK


@store.command()
@names_argument
@click.option("--yes", is_flag=True, help="Do not ask, even where others have to wait.")
@json_option
@pass_session
def compact(session: Session, *, names: Sequence[str], yes: bool, as_json: bool) -> int:
    """Give the dead bytes of files back to the disk.

    It works in short steps, between which the daemon goes on.  An old file that cannot shrink in steps is
    copied as a whole once, and shrinks by itself from then on.  If that would keep others waiting for long,
    the command asks first.

    Example: taskctl store compact broker
    """
    done = []
    for each in by_place(chosen(session.config, names)):
        if (waits := each.upkeep.stalls()) and not yes:
            click.confirm(f"{printable(waits)}. Go on?", abort=True, err=True)
        before = each.upkeep.extent()
        if each.upkeep.compact(Event().wait):
            done.append((each.name, before, each.upkeep.extent()))
    if as_json:
        echo_json(
            {
                "compacted": [
                    {"store": name, "before": _bytes(before), "after": _bytes(after)}
                    for name, before, after in done
                ]
            }
        )
    for name, before, after in [] if as_json else done:
        click.echo(f"{name}: {_shown(before, 'size_bytes')} -> {_shown(after, 'size_bytes')}")
    if not done and not as_json:
        click.echo("nothing to compact")
    return exit_codes.OK


def _look(upkeep: Upkeep) -> tuple[FormatMark | None, str, Extent | None]:
    """Return format, state and extent; an error is the state of its store and hides no other one."""
    try:
        found = upkeep.mark()
        return found, _state(upkeep, found), upkeep.extent()
    except StorageError as error:
        return None, str(error), None


def _state(upkeep: Upkeep, found: FormatMark | None) -> str:
    if found is None:
        return _NOT_MADE
    if upkeep.formats.refusal(found):
        return f"needs a newer taskd, which knows format {found.lowest_reader}"
    if upkeep.formats.due(found):
        return f"upgrade to {upkeep.formats.format} is due"
    return _CURRENT if found.format == upkeep.formats.format else "used by a newer taskd too"


def _problems(upkeep: Upkeep) -> Sequence[str]:
    try:
        _sound_mark(upkeep)
        return upkeep.problems()
    except (StorageError, Failure) as error:
        return [str(error)]


def _sound_mark(upkeep: Upkeep) -> FormatMark | None:
    """Return the format that is there.  Raises: ``Failure`` when this taskd cannot read it."""
    found = upkeep.mark()
    if found is not None and (refusal := upkeep.formats.refusal(found)):
        raise Failure(f"{upkeep.place} {refusal}")
    return found


def _row(each: Durable, mark: FormatMark | None, state: str, extent: Extent | None) -> Sequence[object]:
    room = (_shown(extent, name) for name in ("size_bytes", "live_bytes", "dead_bytes"))
    return (each.name, "-" if mark is None else mark.format, state, *room, each.upkeep.place)


def _shown(extent: Extent | None, name: str) -> str:
    return "-" if extent is None else size(getattr(extent, name))


def _facts(each: Durable, mark: FormatMark | None, state: str, extent: Extent | None) -> dict[str, object]:
    return {
        "store": each.name,
        "place": each.upkeep.place,
        "format": None if mark is None else mark.format,
        "lowest_reader": None if mark is None else mark.lowest_reader,
        "known_format": each.upkeep.formats.format,
        "state": state,
        **_bytes(extent),
        "shrinks": None if extent is None else extent.shrinks,
    }


def _bytes(extent: Extent | None) -> dict[str, object]:
    names = ("size_bytes", "live_bytes", "dead_bytes")
    return {name: None if extent is None else getattr(extent, name) for name in names}
