"""The entries of all sources as an operator sees them, without asking a beat."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import click

from taskd.base import exit_codes
from taskd.base.errors import StorageError
from taskd.base.nearest import nearest
from taskd.beat.entries import EntrySource, Listed, Listing
from taskd.beat.schedules.build import schedule_of
from taskd.beat.schedules.schedule import Schedule
from taskd.beat.stores.base import BeatStore, Declared, Mark
from taskd.beat.stores.factory import has_store, open_store
from taskd.cli.output import Failure, printable
from taskd.config.schema import Config


@dataclass(slots=True)
class View:
    """The entries of the file and of the store."""

    listing: Listing = field(default_factory=Listing)
    marks: Mapping[str, Mark] = field(default_factory=dict)
    declared: Declared = field(default_factory=Declared)
    #: Exit status of a command that shows the view: UNAVAILABLE when the store could not be read.
    status: int = exit_codes.OK

    def require(self, name: str) -> Listed:
        """Return the entry of a name.  Raises: ``Failure`` with the nearest name."""
        listed = self.listing.listed(name)
        if listed is None:
            names = list(self.listing.names())
            hint = nearest(name, names)
            known = f'did you mean "{hint}"?' if hint else f"there are: {', '.join(names[:20]) or 'none'}"
            raise Failure(f'there is no entry "{name}"; {known}')
        return listed

    def schedules(self) -> Iterator[tuple[Listed, Schedule]]:
        """Yield every entry that counts with its schedule, by name."""
        for name in self.listing.names():
            listed = self.listing.listed(name)
            if listed is not None:
                yield listed, schedule_of(listed.entry, name)

    def doubt(self, task: str) -> str:
        """Return what is odd about a task's name, by what beat learned from the app; empty for nothing."""
        tasks = self.declared.tasks
        if not tasks or task in tasks:
            return ""
        hint = nearest(task, tasks)
        return f'the app has no task "{task}"' + (f'; did you mean "{hint}"?' if hint else "")


@contextmanager
def opened(config: Config) -> Iterator[BeatStore]:
    """Open the store, made if missing, for a change.  Raises: ``StorageError``."""
    store = open_store(config, listens=False)
    try:
        yield store
    finally:
        store.close()


def look(config: Config, store: BeatStore | None = None) -> View:
    """Return the view; without ``store`` it is opened if it is there.

    A store that cannot be read does not hide the file's entries: standard error names it.
    """
    view = View()
    view.listing.replace(EntrySource.FILE, config.beat.schedule)
    if store is not None:
        _read(store, view)
    elif has_store(config):
        try:
            with opened(config) as found:
                _read(found, view)
        except StorageError as error:
            view.status = exit_codes.UNAVAILABLE
            click.echo(f"taskctl: only the file's entries: {printable(str(error))}", err=True)
    return view


def _read(store: BeatStore, view: View) -> None:
    changes = store.changes(0)
    entries = {name: entry for name, entry in changes.entries.items() if entry is not None}
    view.listing.replace(EntrySource.RUN_TIME, entries)
    view.listing.pauses.update(changes.pauses)
    view.declared = store.declared()
    view.listing.replace(EntrySource.APP, view.declared.entries)
    view.marks = {mark.name: mark for mark in store.marks()}
    for name, problem in changes.unreadable.items():
        click.echo(printable(f"taskctl: entry {name} in the store cannot be read: {problem}"), err=True)


def operator() -> str:
    """Return who makes a change, for the records."""
    given = os.environ.get("SUDO_USER")
    if given:
        return given
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
