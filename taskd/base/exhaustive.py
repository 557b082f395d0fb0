"""``assert_never`` for closed sets; the standard library has it from Python 3.11 on."""

from __future__ import annotations

from typing import NoReturn


def assert_never(value: NoReturn) -> NoReturn:
    """Fail on a member of a closed set that a ``match`` forgot; mypy fails first."""
    raise AssertionError(f"not handled: {value!r}")
