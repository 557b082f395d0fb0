"""Find the user's app, as ``app`` in the file names it, and import it without harm to this process."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import NoReturn

from taskd.app.app import App
from taskd.base import log
from taskd.base.errors import LoadError, ResolveError, StartError
from taskd.base.resolve import (
    ModuleNotFoundInPath,
    failure_of,
    first_of_the_users,
    imported,
    resolve,
    with_remedy,
)
from taskd.execution.missing_module import explained
from taskd.host.breakpoints import use_terminal


def load(path: str, table: str = "", directory: str = "") -> object:
    """Import the user's code and return the app that ``path`` names: ours, or a Celery app.

    ``table`` is that of the worker, ``directory`` its value: for the message that names the key.
    Raises: ``ResolveError`` when there is no such object, it is not an app, or the code ends the process;
    and any exception that the user's module raises when imported.
    """
    use_terminal()
    try:
        with code_of(path):
            found = find(path)
    except ModuleNotFoundInPath as error:
        if not table:
            raise
        is_set = f"is {directory}" if directory else "is not set"
        raise ResolveError(f"{error}; worker.{table}.directory {is_set}") from error
    finally:
        log.bring_back()
    if not _is_app(found):
        kind = f"{type(found).__module__}.{type(found).__qualname__}"
        raise ResolveError(f'app "{path}" is of type {kind}; expected taskd.App')
    return found


def find(path: str) -> object:
    """Return the object that ``path`` names, found as ``celery -A`` finds it.

    ``module:attribute``, ``module.attribute``, or a module: then its ``app``, its ``celery``, those of its
    submodule ``celery``, or the first app that it holds.  Raises: as ``resolve``.
    """
    module_name, _, attribute = path.partition(":")
    if attribute:
        return resolve(path)
    try:
        module = imported(module_name)
    except ModuleNotFoundInPath as error:
        outer, _, attribute = module_name.rpartition(".")
        if not outer:
            raise
        try:
            return resolve(f"{outer}:{attribute}")
        except ResolveError:
            raise error from None
    found = _held_by(module)
    # Without any, the error names the attribute that is expected.
    return resolve(module_name) if found is None else found


def _held_by(module: ModuleType) -> object | None:
    for name in ("app", "celery"):
        found: object = getattr(module, name, None)
        if found is not None and not isinstance(found, ModuleType):
            return found
    if hasattr(module, "__path__"):
        try:
            return _held_by(imported(f"{module.__name__}.celery"))
        except ModuleNotFoundInPath:
            pass
    return next(filter(_is_app, vars(module).values()), None)


def _is_app(found: object) -> bool:
    return isinstance(found, App) or is_celery(found)


def is_celery(found: object) -> bool:
    """Return whether this is a Celery app; imports nothing, for whoever made one has imported Celery."""
    celery = sys.modules.get("celery")
    return celery is not None and isinstance(found, celery.Celery)


@contextmanager
def code_of(path: str) -> Iterator[None]:
    """Run code of an app, which cannot end this process meanwhile.  Raises: ``ResolveError`` if it tries."""
    try:
        with exit_raises():
            yield
    except (ImportError, AttributeError) as error:
        clearer = explained(error, path)
        if clearer is None:
            raise
        raise clearer from error
    except SystemExit as error:
        raise ResolveError(f'the code of app "{path}" ends the process: {_exit_of(error)}') from error


@contextmanager
def code_of_celery(app: object, path: str) -> Iterator[None]:
    """Do the same for what follows the import of a Celery app, where Celery reads settings and tasks.

    Raises: ``StartError``; ``LoadError`` for all that the app's code raises.
    """
    try:
        with code_of(path):
            yield
    except StartError:
        raise
    except Exception as error:
        reason, detail = failure_of(error)
        raise LoadError(reason, with_remedy(detail, path, _steps_to(app, path))) from error


def _steps_to(app: object, path: str) -> str:
    """Return the statements by which Celery reads settings and imports tasks of an app that was found."""
    module, _, name = path.partition(":")
    for candidate in (module, f"{module}.celery", module.rpartition(".")[0]):
        held = vars(sys.modules[candidate]) if candidate in sys.modules else {}
        for attribute in [name, "app", "celery", *held]:
            if attribute and held.get(attribute) is app:
                return f"from {candidate} import {attribute}; {attribute}.loader.init_worker()"
    return ""


@contextmanager
def exit_raises() -> Iterator[None]:
    """Have ``os._exit`` of this process raise ``SystemExit``: it would end a worker without a word."""
    real = os._exit
    own_pid = os.getpid()
    is_loading = True

    def leave(status: int) -> NoReturn:
        if is_loading and os.getpid() == own_pid:
            raise SystemExit(status)
        real(status)

    os._exit = leave
    try:
        yield
    finally:
        is_loading = False
        os._exit = real


def _exit_of(error: SystemExit) -> str:
    """Say with which status, and at which line."""
    frames = traceback.extract_tb(first_of_the_users(error.__traceback__))
    places = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename != __file__]
    where = f" at {places[0]}" if places else ""
    by = f", in {places[-1]}" if len(places) > 1 else ""
    return f"exit status {error.code}{where}{by}"
