"""A server that one of kombu's transports reaches: its address, its options, its errors, how it is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from kombu.connection import Connection

from taskd.base.errors import BrokerError
from taskd.base.urls import shown
from taskd.brokers.kombu.errors import BROKER_ERRORS, told
from taskd.brokers.kombu.link import KombuLink
from taskd.brokers.timing import Timing
from taskd.config.stores import AmqpConfig

PREFIX = "kombu+"


@cache
def _errors_of(url: str) -> tuple[type[BaseException], ...]:
    """Return ``BROKER_ERRORS`` and what the transport of a URL calls its own, such as SQLAlchemy's."""
    kombu = Connection(url)
    return (*BROKER_ERRORS, *kombu.connection_errors)


@dataclass(frozen=True)
class Server:
    """One broker as one configuration sees it."""

    url: str
    config: AmqpConfig
    timing: Timing = field(default_factory=Timing)

    @property
    def shown(self) -> str:
        """The URL without user, password and parameters."""
        return shown(self.url)

    @property
    def kombu_url(self) -> str:
        """The URL as kombu takes it."""
        return self.url.removeprefix(PREFIX)

    def transport_options(self) -> dict[str, object]:
        """Return kombu's options of the transport."""
        return dict(self.config.transport_options)

    def queue_arguments(self) -> dict[str, object]:
        """Return the arguments with which queues are made that do not exist."""
        return {}

    def mailbox_arguments(self, most_waiting: int) -> Mapping[str, object]:
        """Return the arguments of mailboxes that hold at most this many messages."""
        return {}

    def connect(self) -> KombuLink:
        """Open a connection.  Raises: ``BrokerError``."""
        with self.errors():
            return KombuLink(self._connection())

    def _connection(self, heartbeat_s: float = 0.0) -> Connection:
        return Connection(
            self.kombu_url,
            connect_timeout=self.config.timeout,
            heartbeat=int(heartbeat_s),
            transport_options=self.transport_options(),
        )

    def _known_errors(self) -> tuple[type[BaseException], ...]:
        return _errors_of(self.kombu_url)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the errors of kombu and its transports into ``BrokerError``."""
        try:
            yield
        except self._known_errors() as error:
            raise BrokerError(told(error, self.url)) from error
