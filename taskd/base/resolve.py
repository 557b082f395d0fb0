"""The only place that turns a string from a user's file into a Python object."""

from __future__ import annotations

import importlib
import os
import pwd
import shlex
import sys
import traceback
from importlib import import_module
from types import ModuleType, TracebackType

from taskd.base.errors import LoadError, ResolveError, TaskdError
from taskd.base.nearest import nearest

#: Modules that stand between this program and the user's code.
_BETWEEN = frozenset({"taskd", "celery", "kombu", "importlib", "contextlib", "functools", "collections"})
_BY_HAND = "by hand: "
_IMPORT_FILES = ("<frozen importlib", os.path.dirname(importlib.__file__) + os.sep)


class ModuleNotFoundInPath(ResolveError):
    """There is no such module where Python looks."""


def resolve(path: str, *, default_attribute: str = "app") -> object:
    """Return the object named by ``package.module:attribute``.

    Without an attribute ``default_attribute`` is taken.  Raises: as ``imported``, and ``ResolveError`` when
    the module has no such attribute.
    """
    module_name, _, attribute = path.partition(":")
    attribute = attribute or default_attribute
    found: object = imported(path)
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = nearest(part, _objects_in(found))
            hint = f', did you mean "{near}"?' if near else ""
            raise ResolveError(
                f'module "{module_name}" has no attribute "{attribute}" (wanted by app "{path}"){hint}'
            )
        found = getattr(found, part)
    return found


def _objects_in(owner: object) -> list[str]:
    """Return the names of what is neither a class nor a module: those are imported, an app is made."""
    return [name for name in dir(owner) if not isinstance(getattr(owner, name, None), (type, ModuleType))]


def imported(path: str) -> ModuleType:
    """Return the module of ``package.module:attribute``, imported.

    The working directory is put on the import path first, as ``celery`` and ``python -m`` do, and the
    directory of the configuration file last.  Errors raised *by* the user's module pass through untouched, so
    that their traceback names the user's line.  Raises: ``ModuleNotFoundInPath``.
    """
    module_name = path.partition(":")[0]
    if "" not in sys.path and "." not in sys.path:
        sys.path.insert(0, "")
    # Behind all others, so that nothing beside the file takes the place of a module that is installed.
    if (beside := _beside_the_file()) and beside not in sys.path:
        sys.path.append(beside)
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module exists; something that it imports does not
        raise ModuleNotFoundInPath(
            f'no module "{error.name}" for app "{path}"; expected "package.module:attribute" in '
            f"the program's working directory, on its PYTHONPATH, or beside the file; "
            f"looked in {_looked_in()}"
        ) from error


def _looked_in() -> str:
    """Return where users' code is looked for: the working directory, PYTHONPATH, beside the file."""
    try:
        here = os.getcwd()
    except OSError:
        here = "a working directory that is gone"
    places = [here, *os.environ.get("PYTHONPATH", "").split(os.pathsep), _beside_the_file()]
    return ", ".join(dict.fromkeys(filter(None, places)))


def _beside_the_file() -> str:
    """Return the directory of the configuration file, which the supervisor names to its programs, or ""."""
    return os.path.dirname(os.environ.get("TASKD_CONFIG", ""))


def with_remedy(detail: str, path: str, statements: str = "") -> str:
    """Return the detail of a failure to load, and how an operator meets the same failure by hand.

    ``statements`` do what this process did, where to import the module is not all.
    """
    if detail.rpartition("\n")[2].startswith(_BY_HAND):
        return detail  # it was added where the failure was met
    return "\n".join(each for each in (detail, f"{_BY_HAND}{_by_hand(path, statements)}") if each)


def _by_hand(path: str, statements: str) -> str:
    statements = statements or f"import {path.partition(':')[0]}"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(statements)}"
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = f"#{os.geteuid()}"
    here = os.getcwd()
    beside = _beside_the_file()
    as_user = "" if os.geteuid() == 0 else f"sudo -u {shlex.quote(user)} "
    path_too = f"PYTHONPATH={shlex.quote(beside)} " if beside not in ("", here) else ""
    return f"cd {shlex.quote(here)} && {as_user}{path_too}{command}"


def failure_of(error: BaseException) -> tuple[str, str]:
    """Return what to say of an import that failed: one line, and the traceback from the user's code on.

    The second is empty where the first says all: a name in a file that leads nowhere.  Never raises.
    """
    if isinstance(error, LoadError):
        return str(error), error.detail
    if isinstance(error, TaskdError):
        return str(error), ""
    try:
        text = str(error).strip()
    except BaseException:  # noqa: BLE001 - the user's __str__
        text = ""
    reason = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    frames = first_of_the_users(error.__traceback__)
    return reason, "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def first_of_the_users(frames: TracebackType | None) -> TracebackType | None:
    """Return the frames from the user's code on.

    Frames that led there are left out: those before ``imported``, of the import machinery, of Celery and of
    taskd.  Where none is the user's, all are returned.
    """
    here = frames
    while here is not None and here.tb_frame.f_code is not imported.__code__:
        here = here.tb_next
    if here is None:
        return _behind_others(frames)
    while here is not None and _is_machinery(here.tb_frame.f_code.co_filename):
        here = here.tb_next
    return here


def _behind_others(frames: TracebackType | None) -> TracebackType | None:
    here = frames
    while here is not None:
        package = str(here.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _BETWEEN and not _is_machinery(here.tb_frame.f_code.co_filename):
            return here
        here = here.tb_next
    return frames


def _is_machinery(filename: str) -> bool:
    return filename == __file__ or filename.startswith(_IMPORT_FILES)
