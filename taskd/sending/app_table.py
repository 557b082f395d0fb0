"""The report of an app that was loaded, to the parent of its pool, which never sees the code itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from taskd.sending.options import TaskOptions


class AppTable(msgspec.Struct, frozen=True):
    """The facts of an app that the parent needs: JSON in the hello of a pool."""

    tasks: Sequence[TaskOptions]
    #: The app stores results, counts chords and calls errbacks by itself.  An end that the worker decides is
    #: handed to it before the message is settled.
    answers: bool = False
    #: The user's functions are to hear of ends that the worker decides.
    hears_ends: bool = False
    #: The app's own settings that do not count here, or count otherwise: one line each for the log.
    warnings: Sequence[str] = ()
    #: The parts of the app that cannot work here, with what they stand on: one line each for the log.
    refusals: Sequence[str] = ()
    #: The app's own settings and the software it stands on, as remote control shows them.
    settings: Mapping[str, object] = {}
    software: str = ""
