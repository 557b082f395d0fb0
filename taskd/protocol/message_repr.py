"""Short texts of arguments and results, for logs, events and the ``argsrepr`` headers.

Never longer than ``LIMIT`` and never slow: what is big is cut before it is written out, and an
object whose ``__repr__`` raises becomes a placeholder.
"""

from __future__ import annotations

from reprlib import Repr

#: Celery's ``resultrepr_maxsize``.
LIMIT = 1024

_SHORT = frozenset({int, float, bool, type(None)})
_MANY = 16
_LONG_TEXT = 200

_bounded = Repr()
_bounded.maxlevel = 3
_bounded.maxtuple = _MANY
_bounded.maxlist = _MANY
_bounded.maxdict = _MANY
_bounded.maxset = _MANY
_bounded.maxfrozenset = _MANY
_bounded.maxstring = _LONG_TEXT
_bounded.maxother = _LONG_TEXT


def bounded_repr(value: object) -> str:
    """Return ``repr(value)``, cut to ``LIMIT`` characters and three levels.  Never raises."""
    kind = type(value)
    try:
        if (
            kind in _SHORT
            or (kind is str and len(value) <= _LONG_TEXT)  # type: ignore[arg-type]
            or (kind in (tuple, list) and _is_short(value))  # type: ignore[arg-type]
            or (kind is dict and (not value or (_is_short(value.values()) and _is_short(value))))  # type: ignore[attr-defined,arg-type]
        ):
            text = repr(value)
        else:
            text = _bounded.repr(value)
    except Exception as error:  # noqa: BLE001 - the object is the user's, and so is its __repr__
        text = f"<{kind.__name__}: repr failed with {type(error).__name__}>"
    if not text.isascii():
        # A __repr__ may return lone surrogates, which no header can carry.
        text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= LIMIT else text[: LIMIT - 3] + "..."


def _is_short(parts: tuple[object, ...] | list[object] | dict[object, object]) -> bool:
    if len(parts) > _MANY:
        return False
    for part in parts:
        kind = type(part)
        if kind is str:
            if len(part) > _LONG_TEXT:  # type: ignore[arg-type]
                return False
        elif kind not in _SHORT:
            return False
    return True
