"""The only place that turns a string from a user's file into a Python object."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from taskd.errors import ResolveError


def resolve(path: str, *, default_attribute: str = "app") -> object:
    """Return the object named by ``package.module:attribute``.

    Without an attribute ``default_attribute`` is taken.  The working directory is put on the
    import path first, as ``celery`` and ``python -m`` do.  Errors raised *by* the user's module
    pass through untouched, so that their traceback names the user's line.

    Raises: ``ResolveError`` when the module does not exist or has no such attribute.
    """
    module_name, _, attribute = path.partition(":")
    attribute = attribute or default_attribute
    if "" not in sys.path and "." not in sys.path:
        sys.path.insert(0, "")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module exists; something that it imports does not
        raise ResolveError(
            f'no module "{error.name}" for app "{path}"; expected "package.module:attribute" that can be '
            f"imported from the program's working directory or its PYTHONPATH"
        ) from error
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ResolveError(
                f'module "{module_name}" has no attribute "{attribute}" (wanted by app "{path}")'
            )
        found = getattr(found, part)
    return found


def module_near(module_name: str) -> ModuleType | None:
    """Return a module that is loaded, or one below a package that is loaded, which it then imports.

    For names that came over the wire: their sender must not be able to choose what gets imported.
    Errors raised by the module pass through.
    """
    found = sys.modules.get(module_name)
    if found is None and module_name.partition(".")[0] in sys.modules:
        return import_module(module_name)
    return found
