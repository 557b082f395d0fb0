"""Values as they would be written in the file: for the reference page, and for showing what differs."""

from __future__ import annotations

import json

from taskd.config.option import ValueForm


def written(value: object, kind: ValueForm) -> str:
    """Return the TOML text of a value of this kind."""
    if kind is ValueForm.OCTAL and isinstance(value, int):
        value = f"{value:03o}"
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _quoted(value)
        case float() if kind is ValueForm.DURATION:
            return f'"{_duration(value)}"' if value else "0"
        case tuple() | list():
            return "[" + ", ".join(written(item, ValueForm.TEXT) for item in value) + "]"
        case dict():
            inside = ", ".join(
                f"{_quoted(str(key))} = {written(item, ValueForm.TEXT)}" for key, item in value.items()
            )
            return f"{{ {inside} }}" if inside else "{}"
        case _:
            return str(value)


def _quoted(text: str) -> str:
    # TOML takes DEL only as an escape, which JSON takes as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if seconds % size == 0 and (seconds > size or size == 1):
            return f"{seconds / size:g}{unit}"
    return f"{seconds * 1000:g}ms"
