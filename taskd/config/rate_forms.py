"""A table of rates by the names of tasks, such as ``{ "shop.send" = "10/m" }``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from taskd.base.rates import parse_rate
from taskd.config.file_value import BAD, FileValue, show, substitute
from taskd.config.provenance import KeyPath

_FORM = "tasks per second, minute or hour: 10/s, 10/m, 10/h, 0 for none"


def rates(given: FileValue) -> object:
    """Read a table of rates, as texts that ``parse_rate`` takes.

    A name with dots that is not in quotes is a table in a table for TOML; it means the same here.
    """
    if not isinstance(given.raw, dict):
        return given.bad('a table of rates such as { "shop.send" = "10/m" }')
    result: dict[str, str] = {}
    sound = True
    for path, value in _flat(given.raw, ()):
        text = _rate(given, (*given.path, *path), value)
        sound = sound and text is not None
        result[".".join(path)] = text or ""
    return result if sound else BAD


def _flat(table: Mapping[str, object], path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, (*path, key))
        else:
            yield (*path, key), value


def _rate(given: FileValue, path: KeyPath, value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        given.report.error(path, f"{show(value)} is not a rate", _FORM)
        return None
    text = substitute(str(value), path, given.report)
    if text is None:
        return None
    try:
        parse_rate(text)
    except ValueError:
        count = str(value).partition("/")[0].strip()
        near = [f"{count}/{unit}" for unit in "smh"]
        given.report.error(path, f"{show(value)} is not a rate", _FORM, word=str(value), known=near)
        return None
    return text
