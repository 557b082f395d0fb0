"""Tells variables that hold secrets from those that everybody may see.  Pure.

``taskctl import`` keeps them out of the file, and ``taskctl doctor`` looks for them there: both judge alike.
"""

from __future__ import annotations

import re

from taskd.base.urls import credentials_of

_WORDS = "pass|pwd|secret|token|key|dsn|url|uri|credential|auth|private|salt|cookie"
_NAME = re.compile(_WORDS, re.IGNORECASE)


def is_secret_variable(name: str, value: str) -> bool:
    """Return whether a variable is taken for a secret, by its name or by an address in its value."""
    return bool(value) and (bool(_NAME.search(name)) or any(credentials_of(value)))
