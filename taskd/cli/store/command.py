"""The verbs of ``taskctl store``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
_UNREADABLE = "unreadable"

#: The work on one store, as facts for programs and as a line for people; None when nothing was to be done.
Step = tuple[Mapping[str, object], str] | None
Command = TypeVar("Command", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class _Look:
    """A store as ``status`` shows it; ``error`` says why it is unreadable."""

    store: Durable
    state: str
    mark: FormatMark | None = None
    extent: Extent | None = None
    error: str = ""


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

    STORE is broker, results, revoked, beat or deaths; without one, all of them.
    The exit status is 1 when one of them is unreadable; its error follows the table.

    Live bytes hold data.  Dead bytes are free pages, which taskd gives back by itself when it has not needed
    them for some minutes, and the log of the file.  A server such as Redis keeps its memory itself.

    Example: taskctl store status
    """
    looks = [_look(each) for each in chosen(session.config, names)]
    if as_json:
        echo_json({"stores": [_facts(look) for look in looks]})
    else:
        echo_table(_COLUMNS, [_row(look) for look in looks], right=("FORMAT", "SIZE", "LIVE", "DEAD"))
        for look in looks:
            if note := _note(look):
                click.echo(f"\n{printable(note)}")
    return exit_codes.FAILURE if any(look.error for look in looks) else exit_codes.OK


@store.command()
@names_argument
@json_option
@pass_session
def upgrade(session: Session, *, names: Sequence[str], as_json: bool) -> int:
    """Bring stores to the format of this taskd.

    STORE is broker, results, revoked, beat or deaths; without one, all of them.

    Each program does this by itself when it opens a store; here it is done ahead of them.  A kill leaves the
    former format or the new one, never a mixture.  A store that fails is named, and the others are done.

    Example: taskctl store upgrade broker
    """
    return _in_turn("upgrade", "upgraded", chosen(session.config, names), _upgraded, as_json=as_json)


@store.command()
@names_argument
@json_option
@pass_session
def check(session: Session, *, names: Sequence[str], as_json: bool) -> int:
    """Read each store as a whole and show what is wrong with it.

    STORE is broker, results, revoked, beat or deaths; without one, all of them.

    Example: taskctl store check
    """
    stores = chosen(session.config, names)
    not_made: list[str] = []
    found: list[Mapping[str, object]] = []
    for each in stores:
        try:
            if _sound_mark(each.upkeep) is None:
                not_made.append(each.name)
            problems = [(problem, f"{each.upkeep.place}: {problem}") for problem in each.upkeep.problems()]
        except (StorageError, Failure) as error:
            problems = [(str(error), str(error))]  # it names its place itself
        for problem, line in problems:
            found.append({"store": each.name, "place": each.upkeep.place, "problem": problem})
            if not as_json:
                click.echo(printable(f"{each.name}: {line}"), err=True)
    if as_json:
        echo_json({"ok": not found, "problems": found, "not_made": not_made})
        return exit_codes.FAILURE if found else exit_codes.OK
    if not_made:
        click.echo(f"nothing to check, not made yet: {', '.join(not_made)}")
    if not found and len(not_made) < len(stores):
        click.echo("all other stores are sound" if not_made else "all stores are sound")
    return exit_codes.FAILURE if found else exit_codes.OK


@store.command()
@names_argument
@click.option("--yes", is_flag=True, help="Do not ask, even where others have to wait.")
@json_option
@pass_session
def compact(session: Session, *, names: Sequence[str], yes: bool, as_json: bool) -> int:
    """Give the dead bytes of files back to the disk.

    STORE is broker, results, revoked, beat or deaths; without one, all of them.

    It works in short steps, between which the daemon goes on.  An old file that cannot shrink in steps is
    copied as a whole once, and shrinks by itself from then on.  If that would keep others waiting for long,
    the command asks first.  A store that fails is named, and the others are done.

    Example: taskctl store compact broker
    """

    def compacted(each: Durable) -> Step:
        if (waits := each.upkeep.stalls()) and not yes:
            click.confirm(f"{printable(waits)}. Go on?", abort=True, err=True)
        return _compacted(each)

    stores = by_place(chosen(session.config, names))
    return _in_turn("compact", "compacted", stores, compacted, as_json=as_json)


def _in_turn(
    verb: str, done_key: str, stores: Sequence[Durable], work: Callable[[Durable], Step], *, as_json: bool
) -> int:
    """Work on each store, a bad one or not; return the exit status."""
    done: list[Mapping[str, object]] = []
    failed: list[Mapping[str, object]] = []
    for each in stores:
        try:
            step = work(each)
        except (StorageError, Failure) as error:
            failed.append({"store": each.name, "place": each.upkeep.place, "error": str(error)})
            if not as_json:
                click.echo(printable(f"{each.name}: {error}"), err=True)
            continue
        if step is not None:
            facts, line = step
            done.append(facts)
            if not as_json:
                click.echo(line)
    if as_json:
        echo_json({done_key: done, "failed": failed})
    elif not done and not failed:
        click.echo(f"nothing to {verb}")
    return exit_codes.FAILURE if failed else exit_codes.OK


def _upgraded(each: Durable) -> Step:
    before = _sound_mark(each.upkeep)
    if before is None or not each.upkeep.formats.due(before):
        return None
    each.upkeep.bring_up()
    after = each.upkeep.formats.format
    facts = {"store": each.name, "from": before.format, "to": after}
    return facts, f"{each.name}: format {before.format} -> {after}"


def _compacted(each: Durable) -> Step:
    before = each.upkeep.extent()
    if not each.upkeep.compact(Event().wait):
        return None
    after = each.upkeep.extent()
    line = f"{each.name}: {_shown(before, 'size_bytes')} -> {_shown(after, 'size_bytes')}"
    if before and after and after.shrinks > before.shrinks:
        line += "; it shrinks by itself from now on"
    return {"store": each.name, "before": _bytes(before), "after": _bytes(after)}, line


def _look(each: Durable) -> _Look:
    """Return what there is to see; an error is of its store and hides no other one."""
    try:
        found = each.upkeep.mark()
        return _Look(each, _state(each.upkeep, found), found, each.upkeep.extent())
    except StorageError as error:
        return _Look(each, _UNREADABLE, error=str(error))


def _state(upkeep: Upkeep, found: FormatMark | None) -> str:
    if found is None:
        return _NOT_MADE
    if upkeep.formats.refusal(found):
        return f"needs a newer taskd, which knows format {found.lowest_reader}"
    if upkeep.formats.due(found):
        return f"upgrade to {upkeep.formats.format} is due"
    return _CURRENT if found.format == upkeep.formats.format else "used by a newer taskd too"


def _sound_mark(upkeep: Upkeep) -> FormatMark | None:
    """Return the format that is there.  Raises: ``Failure`` when this taskd cannot read it."""
    found = upkeep.mark()
    if found is not None and (refusal := upkeep.formats.refusal(found)):
        raise Failure(f"{upkeep.place} {refusal}")
    return found


def _row(look: _Look) -> Sequence[object]:
    room = (_shown(look.extent, name) for name in ("size_bytes", "live_bytes", "dead_bytes"))
    shown_format = "-" if look.mark is None else look.mark.format
    return (look.store.name, shown_format, look.state, *room, look.store.upkeep.place)


def _note(look: _Look) -> str:
    """Return what there is to say below the table."""
    name = look.store.name
    if look.error:
        return f"{name}: {look.error}"
    if look.extent is not None and not look.extent.shrinks:
        return f"{name} does not shrink by itself: taskctl store compact {name}"
    return ""


def _shown(extent: Extent | None, name: str) -> str:
    return "-" if extent is None else size(getattr(extent, name))


def _facts(look: _Look) -> dict[str, object]:
    mark = look.mark
    extent = look.extent
    return {
        "store": look.store.name,
        "place": look.store.upkeep.place,
        "format": None if mark is None else mark.format,
        "lowest_reader": None if mark is None else mark.lowest_reader,
        "known_format": look.store.upkeep.formats.format,
        "state": look.state,
        "error": look.error,
        **_bytes(extent),
        "shrinks": None if extent is None else extent.shrinks,
    }


def _bytes(extent: Extent | None) -> dict[str, object]:
    names = ("size_bytes", "live_bytes", "dead_bytes")
    return {name: None if extent is None else getattr(extent, name) for name in names}
