"""Exceptions on the wire: ``{"exc_type", "exc_message", "exc_module"}``, as Celery writes them.

``encode_exception`` never raises, whatever the exception's own methods do.  Beside Celery's keys stand
``exc_state``, the exception's attributes, and ``exc_args``, its ``args`` where they are not what its
constructor takes; Celery's clients pass over both.

``decode_exception`` builds the same type again, imports nothing, and runs no constructor that is written in
Python unless its class was registered.  A writer to the result store must not be able to choose what is
called.  A type that is not loaded becomes a subclass of ``RemoteError`` with the same name.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from taskd.base.errors import ProtocolError, SoftTimeLimitExceeded, TaskdError
from taskd.base.safe_text import storable
from taskd.protocol import serializers
from taskd.protocol.message_repr import bounded_repr


class RemoteError(TaskdError):
    """A task failed with an exception whose type this process cannot build."""


class RemoteTraceback(Exception):
    """The traceback in the worker, as text; it is the ``__cause__`` of an exception from a result."""

    def __str__(self) -> str:
        """Return the text between quotes, as concurrent.futures shows it."""
        return f'\n"""\n{self.args[0] if self.args else ""}"""'


class TimeLimitExceeded(TaskdError):
    """The hard time limit passed and the task was ended; its argument is the limit in seconds."""

    def __str__(self) -> str:
        """Return a sentence: on the wire is only the number, as Celery writes it."""
        limit_s = self.args[0] if len(self.args) == 1 else None
        if not isinstance(limit_s, (int, float)):
            return super().__str__()
        return f"the task was ended by its time limit of {limit_s:g} s"


class WorkerLostError(TaskdError):
    """The process that ran the task died, or the task tried to end it."""


class TaskRevokedError(TaskdError):
    """The task was revoked or expired before it ran, or was terminated."""


class NotRegistered(TaskdError):
    """The worker knows no task of this name, which is the argument."""

    def __str__(self) -> str:
        """Return a sentence: on the wire is only the name, as Celery writes it."""
        name = self.args[0] if len(self.args) == 1 else ""
        if not isinstance(name, str) or not name or " " in name:
            return super().__str__()
        return f'the worker knows no task "{name}"; it must be imported with the app, under this name'


class MaxRetriesExceededError(TaskdError):
    """The task asked for one retry more than it may have."""


class TaskRejected(TaskdError):
    """The task was put into the dead-letter queue instead of being run or finished."""


class ChordError(TaskdError):
    """A task of a chord's header did not succeed, so its body does not run."""


class UnreadableError(TaskdError):
    """The task raised an exception that lets nobody look at it."""


# Celery's clients look for these names; ours are found again by the same table.
_WIRE_NAMES: dict[type[BaseException], tuple[str, str]] = {
    SoftTimeLimitExceeded: ("billiard.exceptions", "SoftTimeLimitExceeded"),
    TimeLimitExceeded: ("billiard.exceptions", "TimeLimitExceeded"),
    WorkerLostError: ("billiard.exceptions", "WorkerLostError"),
    TaskRevokedError: ("celery.exceptions", "TaskRevokedError"),
    NotRegistered: ("celery.exceptions", "NotRegistered"),
    MaxRetriesExceededError: ("celery.exceptions", "MaxRetriesExceededError"),
    TaskRejected: ("celery.exceptions", "Reject"),
    ChordError: ("celery.exceptions", "ChordError"),
}
_OURS = {names: kind for kind, names in _WIRE_NAMES.items() if issubclass(kind, Exception)}


#: Attributes of an exception that travel, and bytes of one of them, or of one argument.
_MOST_STATE = 64
_LONGEST_PART = 2**16
#: CPython's flag of a type that was made at run time; the interpreter's own types lack it.
_IS_HEAP_TYPE = 1 << 9
#: Attributes that ``isinstance``, ``traceback`` and taskd ask of an exception.
_READ = ("__class__", "__traceback__", "__cause__", "__context__", "__suppress_context__")


def encode_exception(error: BaseException) -> dict[str, object]:
    """Return the exception as Celery stores it.  Never raises."""
    kind = type(error)
    module, name = _WIRE_NAMES.get(kind) or (str(kind.__module__), kind.__qualname__)
    arguments = _arguments(error)
    args = _args(error)
    record: dict[str, object] = {
        "exc_type": name,
        "exc_message": [_serializable(part) for part in arguments],
        "exc_module": module,
    }
    if args != arguments:
        record["exc_args"] = [_serializable(part) for part in args]
    state = _state(error)
    if state:
        record["exc_state"] = {each: _serializable(value) for each, value in state.items()}
    return record


_registered: set[type[Exception]] = set()


def register_exception(kind: type[Exception]) -> type[Exception]:
    """Let results call the constructor of an exception class when they build it again.  Returns the class.

    It is needed only where attributes and ``args`` are not enough, and where another worker than taskd's ran
    the task.  Everybody who can write to the result store chooses the constructor's arguments.
    """
    _registered.add(kind)
    return kind


def readable(error: BaseException) -> BaseException:
    """Return the exception, or one that stands for it where not even its attributes can be read.

    ``isinstance`` and the traceback's printing ask an exception for attributes, and would raise what its own
    ``__getattribute__`` raises.  For the ``except`` block that has caught it.
    """
    frames = sys.exc_info()[2]  # not error.__traceback__, which asks, too
    try:
        for name in _READ:
            getattr(error, name)
    except BaseException as broken:  # noqa: BLE001 - the user's __getattribute__
        text = f"{type(error).__qualname__}, whose attributes cannot be read: {type(broken).__name__}"
        return UnreadableError(text).with_traceback(frames)
    return error


def decode_exception(record: Mapping[str, object], traceback_text: str | None = None) -> Exception:
    """Return an exception of the recorded type, with the traceback in the worker as its cause.

    Raises: ``ProtocolError`` when the record is not one of an exception.
    """
    name = record.get("exc_type")
    module = record.get("exc_module")
    message = record.get("exc_message", ())
    if not isinstance(name, str) or not (module is None or isinstance(module, str)):
        raise ProtocolError(f"exception record without exc_type and exc_module: {bounded_repr(record)}")
    args = tuple(message) if isinstance(message, (list, tuple)) else (message,)
    kind = _find(module or "", name) or _unknown(module or "", name)
    error = _build(kind, args, record)
    if traceback_text:
        error.__cause__ = RemoteTraceback(traceback_text)
    return error


def one_line(error: BaseException) -> str:
    """Return ``Type: message`` in one line of at most a few hundred characters.  Never raises."""
    try:
        # Inside too: what __str__ returns may be a text of the user's own kind.
        text = " ".join(str(error)[:500].split())
    except BaseException as broken:  # noqa: BLE001 - the user's __str__
        text = f"<str failed with {type(broken).__name__}>"
    return storable(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def format_traceback(error: BaseException) -> str:
    """Return the traceback as text, without the frame that caught it.  Never raises."""
    frames = error.__traceback__
    if frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    try:
        return storable("".join(traceback.format_exception(type(error), error, frames)))
    except BaseException as broken:  # noqa: BLE001 - methods of the user's exceptions run here
        place = "".join(traceback.format_tb(frames))
        return (
            f"{storable(place)}{one_line(error)}\n(the traceback's end is missing: {type(broken).__name__})\n"
        )


def _arguments(error: BaseException) -> tuple[object, ...]:
    """Return what the type has to be called with.

    ``__reduce__`` knows it where ``args`` does not: an OSError's file name, a constructor that
    hands a finished sentence to ``super().__init__``.
    """
    try:
        reduced = error.__reduce__()
        if isinstance(reduced, tuple) and reduced[0] is type(error) and isinstance(reduced[1], tuple):
            return reduced[1]
    except BaseException:  # noqa: BLE001, S110 - the user's __reduce__; args are there in any case
        pass
    return _args(error)


def _args(error: BaseException) -> tuple[object, ...]:
    # The arguments of BaseException itself; "error.args" may be the user's property.
    plain = BaseException.__reduce__(error)
    args = plain[1] if isinstance(plain, tuple) else ()
    return args if isinstance(args, tuple) else (args,)


def _state(error: BaseException) -> dict[str, object]:
    """Return the exception's own attributes, as far as they are few."""
    try:
        found = object.__getattribute__(error, "__dict__")
        return dict(
            islice(((name, value) for name, value in found.items() if type(name) is str), _MOST_STATE)
        )
    except Exception:  # noqa: BLE001 - a user's type may hide even that
        return {}


def _serializable(part: object) -> object:
    try:
        if len(serializers.dumps(part)) > _LONGEST_PART:
            return bounded_repr(part)
    except BaseException:  # noqa: BLE001 - a user's __json__ runs here
        try:
            return bounded_repr(part)
        except BaseException as broken:  # noqa: BLE001 - a user's __repr__ may even raise SystemExit
            return f"<{type(part).__name__}: repr failed with {type(broken).__name__}>"
    return part


def _find(module_name: str, qualified_name: str) -> type[Exception] | None:
    ours = _OURS.get((module_name, qualified_name))
    if ours is not None:
        return ours
    try:
        found: object = sys.modules.get(module_name)
        for part in qualified_name.split("."):
            # vars, not getattr: attribute hooks of modules and descriptors of classes must not run.
            found = getattr(found, "__dict__", {}).get(part)
        # KeyboardInterrupt, SystemExit and the like would end whoever reads the result.
        if isinstance(found, type) and issubclass(found, Exception):
            return found
    except BaseException:  # noqa: BLE001, S110 - a module or a class of the user's own kind
        pass
    return None


def _unknown(module_name: str, qualified_name: str) -> type[Exception]:
    name = qualified_name.rpartition(".")[2]
    if not name.isidentifier():
        name = RemoteError.__name__
    return type(name, (RemoteError,), {"__module__": module_name, "__doc__": RemoteError.__doc__})


def _build(kind: type[Exception], args: tuple[object, ...], record: Mapping[str, object]) -> Exception:
    try:
        if kind in _registered or kind.__module__.partition(".")[0] == "taskd":
            error = kind(*args)
            if type(error) is kind:
                return _with_state(error, record)
        error = _with_state(_without_constructor(kind, args), record)
        if _speaks(error):
            return error
        # Attributes that its __str__ wants were not on the wire.
        names = {"__module__": kind.__module__, "__str__": BaseException.__str__}
        error = _with_state(_without_constructor(type(kind.__name__, (kind,), names), args), record)
        if _speaks(error):
            return error
    except BaseException:  # noqa: BLE001, S110 - a type that cannot be made at all, or not of this
        pass
    return _unknown(kind.__module__, kind.__qualname__)(*args)


def _without_constructor(kind: type[Exception], args: tuple[object, ...]) -> Exception:
    """Return an exception made by the interpreter's own part of its type; no code of the type's own runs."""
    base: Any = kind
    while base.__flags__ & _IS_HEAP_TYPE:  # a class that Python code has made
        base = base.__base__
    error: Exception = base.__new__(kind, *args)
    with suppress(Exception):  # the arguments may be those of the type, and not of its base
        base.__init__(error, *args)
    return error


def _with_state(error: Exception, record: Mapping[str, object]) -> Exception:
    args = record.get("exc_args")
    state = record.get("exc_state")
    if isinstance(args, list):
        BaseException.__dict__["args"].__set__(error, tuple(args))
    if isinstance(state, dict):
        object.__getattribute__(error, "__dict__").update(state)
    return error


def _speaks(error: Exception) -> bool:
    try:
        return isinstance(str(error), str)
    except BaseException:  # noqa: BLE001 - the type's own __str__
        return False
