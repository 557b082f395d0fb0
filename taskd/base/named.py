"""Imports what a record names when it is chosen, and never before: the module of a kind, of a verb."""

from __future__ import annotations

from importlib import import_module


def named(path: str) -> object:
    """Return the object that ``package.module:attribute`` names in taskd or in an installed package.

    Unlike ``resolve`` it looks nowhere but where Python looks, and leaves all errors as they are.
    """
    module, _, attribute = path.partition(":")
    found: object = getattr(import_module(module), attribute)
    return found
