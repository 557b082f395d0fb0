"""The errors of kombu and its transports in our words: which server, what is wrong, and what to do.  Pure."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from amqp import exceptions as amqp

from taskd.urls import scrubbed, shown


def told(error: BaseException, url: str) -> str:
    """Return one line for a person about an error of the broker with this URL; without its secrets."""
    said = str(getattr(error, "reply_text", "") or error) or type(error).__name__
    remedy = next((remedy for fits, remedy in _REMEDIES if fits(error, said.lower())), "")
    text = scrubbed(" ".join(said.split()), url)
    return f"{shown(url)}: {text}; {remedy}" if remedy else f"{shown(url)}: {text}"


def _is(*kinds: type[BaseException], says: str = "") -> Callable[[BaseException, str], bool]:
    return lambda error, said: isinstance(error, kinds) and says in said


# The first that fits: several are subclasses of OSError.
_REMEDIES: tuple[tuple[Callable[[BaseException, str], bool], str], ...] = (
    (
        _is(amqp.AccessRefused, says="login"),
        "check the user and password of the broker's URL (rabbitmqctl authenticate_user USER PASSWORD)",
    ),
    (
        _is(amqp.AccessRefused),
        "give the user its rights: rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*'",
    ),
    (
        _is(amqp.NotAllowed, says="vhost"),
        "check the virtual host at the end of the broker's URL, or make it: rabbitmqctl add_vhost VHOST",
    ),
    (
        _is(amqp.PreconditionFailed, says="inequivalent"),
        "the queue was made otherwise: set [amqp] queue_type and max_priority as it was, or delete it",
    ),
    (
        _is(amqp.PreconditionFailed, says="timed out"),
        "a task runs longer than the server waits for its end: raise consumer_timeout of RabbitMQ",
    ),
    (
        _is(amqp.ResourceLocked),
        "another connection has the queue for itself alone; end that, or name another queue",
    ),
    (_is(amqp.ConnectionForced), "the server or its operator has ended the connection"),
    (_is(ConnectionRefusedError), "nobody listens there: is the server up, and the port right?"),
    (_is(socket.gaierror), "check the host of the broker's URL, and the resolver of this machine"),
    (
        _is(ssl.SSLCertVerificationError),
        "name the authority of the server's certificate: ?ssl_ca_certs=FILE in the broker's URL",
    ),
    (_is(ssl.SSLError), "does this port speak TLS? amqps:// does, by custom on 5671, and amqp:// does not"),
    (_is(socket.timeout, TimeoutError), "the server did not answer in time; see [amqp] timeout"),
)
