"""Where a broker is and how its queues are made, in one value; and the errors of kombu in our terms."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import parse_qsl, urlsplit

from amqp.exceptions import AMQPError
from kombu.connection import Connection
from kombu.exceptions import KombuError

from taskd.base.errors import BrokerError
from taskd.base.urls import shown
from taskd.brokers.kombu.errors import told
from taskd.brokers.timing import Timing
from taskd.config.stores import AMQP_SCHEMES, AmqpConfig

#: What the transports raise when a server cannot be used.  AttributeError: py-amqp meets its own connection
#: half closed, as kombu's transport notes.
BROKER_ERRORS = (OSError, AMQPError, KombuError, AttributeError)
PREFIX = "kombu+"
_TLS_FILES = ("ca_certs", "certfile", "keyfile")


@cache
def _errors_of(url: str) -> tuple[type[BaseException], ...]:
    """Return ``BROKER_ERRORS`` and what the transport of a URL calls its own, such as SQLAlchemy's."""
    kombu = Connection(url)
    return (*BROKER_ERRORS, *kombu.connection_errors)


@dataclass(frozen=True, slots=True)
class Address:
    """One broker as one configuration sees it."""

    url: str
    config: AmqpConfig
    timing: Timing = field(default_factory=Timing)

    @property
    def pushes(self) -> bool:
        """Whether the server pushes messages, as only AMQP's do."""
        return self.url.partition("://")[0] in AMQP_SCHEMES

    @property
    def shown(self) -> str:
        """The URL without user, password and parameters."""
        return shown(self.url)

    @property
    def kombu_url(self) -> str:
        """The URL as kombu takes it; what AMQP's says of TLS stands in the options."""
        address, _, query = self.url.removeprefix(PREFIX).partition("?")
        if self.pushes:
            query = "&".join(each for each in query.split("&") if not each.startswith("ssl_"))
        return f"{address}?{query}" if query else address

    def transport_options(self) -> dict[str, object]:
        """Return kombu's options of the transport."""
        options = dict(self.config.transport_options)
        if self.pushes:
            options.update(read_timeout=self.config.timeout, write_timeout=self.config.timeout)
        if self.url.startswith("amqps://"):
            options.setdefault("ssl", self._tls_options())
        return options

    def _tls_options(self) -> dict[str, object]:
        """Return py-amqp's options of TLS.  By itself it would take any certificate for any host."""
        parts = urlsplit(self.url)
        asked = {name.removeprefix("ssl_"): value for name, value in parse_qsl(parts.query)}
        options: dict[str, object] = {name: asked[name] for name in _TLS_FILES if name in asked}
        if asked.get("cert_reqs") == "none":
            options["cert_reqs"] = ssl.CERT_NONE
        elif asked.get("check_hostname") != "false":
            options["server_hostname"] = parts.hostname
        return options

    def queue_arguments(self) -> dict[str, object]:
        """Return the arguments with which queues are made that do not exist."""
        if not self.pushes:
            return {}
        arguments: dict[str, object] = {}
        if self.config.queue_type != "default":
            arguments["x-queue-type"] = self.config.queue_type
        if self.config.max_priority and self.config.queue_type != "quorum":
            arguments["x-max-priority"] = self.config.max_priority
        return arguments

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the errors of kombu and its transports into ``BrokerError``."""
        known = BROKER_ERRORS if self.pushes else _errors_of(self.kombu_url)
        try:
            yield
        except known as error:
            raise BrokerError(told(error, self.url)) from error
