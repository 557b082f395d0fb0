"""The report of a Celery app that was imported to be read: for ``taskd --check --import`` and for importing.

``taskd.execution.celery.conf.facts`` writes it as JSON; no reader of it imports the app, or Celery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec


class AppFinding(msgspec.Struct, frozen=True):
    """One thing of an app that cannot work under taskd, or works otherwise."""

    #: As the app's author knows it: a setting, an attribute, a command.
    name: str
    #: Its fate here.
    said: str
    remedy: str = ""
    #: Whether the app loses something; else it runs, and a part of it works otherwise.
    is_refused: bool = False

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.name}: {self.said}" + (f"; {self.remedy}" if self.remedy else "")


class CelerySetting(msgspec.Struct, frozen=True):
    """One setting that differs from Celery's default."""

    name: str
    #: As a person may see it: no secret is in it.
    shown: str
    #: The value of a ``SettingFate``.
    fate: str
    said: str


class CeleryQueue(msgspec.Struct, frozen=True):
    """One queue of ``task_queues``, or the default queue."""

    name: str
    exchange: str = ""
    exchange_type: str = "direct"
    routing_key: str = ""
    is_broadcast: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether whoever sends to it by name makes all that it needs."""
        return self.exchange_type == "direct" and not self.is_broadcast


class CeleryTask(msgspec.Struct, frozen=True):
    """One task of the app, with its options that differ from Celery's defaults."""

    name: str
    options: Mapping[str, object] = {}


class CeleryEntry(msgspec.Struct, frozen=True):
    """One entry of the app's schedule, as a person reads it."""

    name: str
    task: str
    when: str


class CeleryFacts(msgspec.Struct, frozen=True):
    """All that a file for the app is written from.  It holds passwords."""

    app: str
    celery_version: str
    #: As taskd writes them; empty for a broker that taskd does not have.
    broker: str
    #: The app's own address, masked.
    broker_shown: str
    results: str
    results_shown: str
    #: Keys of taskd.toml, ``worker.KEY`` for those of each worker.
    keys: Mapping[str, object] = {}
    settings: Sequence[CelerySetting] = ()
    queues: Sequence[CeleryQueue] = ()
    #: A pattern or task with the queue that it goes to; a router is a name in angle brackets.
    routes: Mapping[str, str] = {}
    #: Queues of routes and tasks that are not in ``queues``, each with the setting or task that names it.
    routed: Mapping[str, str] = {}
    tasks: Sequence[CeleryTask] = ()
    entries: Sequence[CeleryEntry] = ()
    scheduler: str = ""
    findings: Sequence[AppFinding] = ()
