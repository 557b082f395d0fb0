"""The errors of kombu and its transports in our words: which server, what is wrong, and what to do.  Pure."""

from __future__ import annotations

from amqp.exceptions import AMQPError
from kombu.exceptions import KombuError

from taskd.base.remedies import with_remedy
from taskd.base.urls import scrubbed, shown

#: The exceptions of transports when a server cannot be used.  AttributeError: py-amqp meets its own
#: connection half closed, as kombu's transport notes.
BROKER_ERRORS = (OSError, AMQPError, KombuError, AttributeError)


def told(error: BaseException, url: str) -> str:
    """Return one line for a person about an error of the broker with this URL; without its secrets."""
    said = str(getattr(error, "reply_text", "") or error) or type(error).__name__
    return with_remedy(f"{shown(url)}: {scrubbed(' '.join(said.split()), url)}")
