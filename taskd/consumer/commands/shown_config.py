"""The configuration as a worker may show it to whoever reaches its broker: no secret among it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

#: Celery's mask.
MASK = "********"


def masked(table: object) -> object:
    """Return a table of the configuration as JSON values.

    Hidden are the keys that the schema calls secret, and the values of environment variables; of a table
    its names are shown.
    """
    if is_dataclass(table):
        shown: dict[str, object] = {}
        for each in fields(table):
            value = getattr(table, each.name)
            is_secret = bool(each.metadata.get("secret"))
            if isinstance(value, Mapping) and (is_secret or each.name == "environment"):
                shown[each.name] = dict.fromkeys(value, MASK)
            elif is_secret and value:
                shown[each.name] = MASK
            else:
                shown[each.name] = masked(value)
        return shown
    if isinstance(table, Mapping):
        return {str(key): masked(value) for key, value in table.items()}
    if isinstance(table, (list, tuple)):
        return [masked(value) for value in table]
    return table if isinstance(table, (str, int, float, bool, type(None))) else repr(table)
