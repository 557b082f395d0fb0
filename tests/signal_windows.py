"""Have a Python program meet a signal when it has no handlers yet, or none any more."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

#: Every interpreter imports a module of this name before anything else.
_NAME = "sitecustomize.py"

_AT_THE_START = """
import os, sys
if "{module}" in sys.orig_argv:
    os.kill(os.getpid(), {number})
"""

_AT_AN_EVENT = """
import os, sys
pid = os.getpid()
def hook(event, _arguments):
    if event == "{event}" and os.getpid() == pid:
        os.kill(pid, {number})
if "{module}" in sys.orig_argv:
    sys.addaudithook(hook)
"""

# What the module sys holds is deleted after the interpreter has taken its signal handlers away.
_AT_THE_END = """
import os, sys
class Last:
    def __init__(self, send=os.kill, pid=os.getpid()):
        self.send = lambda: send(pid, {number})
    def __del__(self):
        self.send()
if "{module}" in sys.orig_argv:
    sys.last = Last()
"""


def signal_at_the_start(
    patch: pytest.MonkeyPatch, directory: Path, module: str, number: signal.Signals
) -> None:
    """Have every ``python -m MODULE`` that starts from now on get a signal before its first line."""
    _customise(patch, directory, _AT_THE_START.format(module=module, number=int(number)))


def signal_at_an_event(
    patch: pytest.MonkeyPatch, directory: Path, module: str, number: signal.Signals, event: str
) -> None:
    """Have every ``python -m MODULE`` that starts from now on get a signal at an event of ``sys.audit``."""
    code = _AT_AN_EVENT.format(module=module, number=int(number), event=event)
    _customise(patch, directory, code)


def signal_at_the_end(
    patch: pytest.MonkeyPatch, directory: Path, module: str, number: signal.Signals
) -> None:
    """Have every ``python -m MODULE`` that starts from now on get a signal after its last handler."""
    _customise(patch, directory, _AT_THE_END.format(module=module, number=int(number)))


def _customise(patch: pytest.MonkeyPatch, directory: Path, code: str) -> None:
    place = directory / "customised"
    place.mkdir()
    (place / _NAME).write_text(code)
    patch.setenv("PYTHONPATH", str(place), prepend=":")
