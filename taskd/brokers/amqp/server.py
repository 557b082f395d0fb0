"""An AMQP server: its queues' arguments, its TLS, its heartbeats."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from taskd.base.schemes import scheme_of
from taskd.brokers.amqp.link import AmqpLink
from taskd.brokers.kombu.errors import BROKER_ERRORS
from taskd.brokers.kombu.server import Server

_TLS_FILES = ("ca_certs", "certfile", "keyfile")
#: A mailbox whose owner died without a word goes after this time.
_MAILBOX_EXPIRES_MS = 300_000


@dataclass(frozen=True)
class AmqpServer(Server):
    """One RabbitMQ as one configuration sees it."""

    @property
    def kombu_url(self) -> str:
        """The URL as kombu takes it; its parameters of TLS stand in the options."""
        address, _, query = self.url.partition("?")
        query = "&".join(each for each in query.split("&") if not each.startswith("ssl_"))
        return f"{address}?{query}" if query else address

    def transport_options(self) -> dict[str, object]:
        """Return kombu's options of the transport."""
        options = super().transport_options()
        options.update(read_timeout=self.config.timeout, write_timeout=self.config.timeout)
        if scheme_of(self.url).encrypted:
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
        arguments: dict[str, object] = {}
        if self.config.queue_type != "default":
            arguments["x-queue-type"] = self.config.queue_type
        if self.config.max_priority and self.config.queue_type != "quorum":
            arguments["x-max-priority"] = self.config.max_priority
        return arguments

    def mailbox_arguments(self, most_waiting: int) -> Mapping[str, object]:
        """Return the arguments of mailboxes that hold at most this many messages."""
        return {"x-expires": _MAILBOX_EXPIRES_MS, "x-max-length": most_waiting}

    def connect(self, heartbeat_s: float = 0.0) -> AmqpLink:
        """Open a connection.  Raises: ``BrokerError``.

        ``heartbeat_s``: after how long without a sign each side gives the other up; 0 for never.
        """
        with self.errors():
            return AmqpLink(self._connection(heartbeat_s), self.shown, self.errors)

    def _known_errors(self) -> tuple[type[BaseException], ...]:
        return BROKER_ERRORS
