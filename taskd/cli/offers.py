"""Words that a shell completes and that files of this host know: queues, letters, entries, tasks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click

from taskd.base.schemes import file_of
from taskd.beat.entries import EntrySource
from taskd.brokers.desk import DeadFilter, Desk
from taskd.cli.desk import open_desk
from taskd.cli.entries import View, look
from taskd.cli.names import completer
from taskd.cli.session import Session
from taskd.config.beat_store import beat_store_url

_LETTERS = 100


def _queues(session: Session, _socket_path: str) -> Iterator[str]:
    config = session.config
    for worker in config.workers.values():
        yield from worker.queues
    yield from (entry.queue for entry in config.beat.schedule.values())
    with _desk_of_this_host(session) as desk:
        if desk is not None:
            yield from (queue.name for queue in desk.queues())


def _dead_letters(session: Session, _socket_path: str) -> Iterator[str]:
    with _desk_of_this_host(session) as desk:
        if desk is not None:
            yield from (str(letter.id) for letter in desk.dead_letters(DeadFilter(kind=None), _LETTERS))


def _entries(session: Session, _socket_path: str) -> Iterable[str]:
    return _view(session).listing.names()


def _tasks(session: Session, _socket_path: str) -> Iterator[str]:
    """Yield the tasks of the entries, and those that beat learned from the app."""
    view = _view(session)
    yield from view.declared.tasks
    yield from (listed.entry.task for name in view.listing.names() if (listed := view.listing.listed(name)))


def _view(session: Session) -> View:
    """Return the entries of the file, with those of the store where it is a file."""
    config = session.config
    if file_of(beat_store_url(config)):
        return look(config)
    view = View()
    view.listing.replace(EntrySource.FILE, config.beat.schedule)
    return view


@contextmanager
def _desk_of_this_host(session: Session) -> Iterator[Desk | None]:
    """Give the desk of a broker in a file that is there; None for another broker, and none is made."""
    path = file_of(session.config.broker)
    if not path or not os.path.exists(path) or not os.path.getsize(path):
        yield None
        return
    with open_desk(session.config) as desk:
        yield desk


complete_queues = completer(_queues)
complete_dead_letters = completer(_dead_letters)
complete_entries = completer(_entries)
complete_tasks = completer(_tasks)
entry_argument = click.argument("name", shell_complete=complete_entries)
