"""The errors of kombu and its transports in our words: which server, what is wrong, and what to do.  Pure."""

from __future__ import annotations

from taskd.base.remedies import with_remedy
from taskd.base.urls import scrubbed, shown


def told(error: BaseException, url: str) -> str:
    """Return one line for a person about an error of the broker with this URL; without its secrets."""
    said = str(getattr(error, "reply_text", "") or error) or type(error).__name__
    return with_remedy(f"{shown(url)}: {scrubbed(' '.join(said.split()), url)}")
