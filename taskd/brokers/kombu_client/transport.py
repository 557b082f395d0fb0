"""The embedded broker as a kombu transport, for any kombu or Celery client.

``kombu.Connection("sqlite:///var/lib/taskd/broker.db", transport=SqliteTransport)``; Celery names
it ``broker_transport = "taskd.brokers.kombu_client.transport:SqliteTransport"``.  Options: ``durability``
and ``busy_timeout`` as in ``[sqlite]``.  Imported by clients only: a worker never loads kombu.
"""

# mypy: disable-error-code="misc, no-untyped-call, override, assignment"
# kombu's few annotations are inferred from class defaults such as ``default_port = None``; taken at
# their word they forbid what its own transports do.

from __future__ import annotations

from queue import Empty
from typing import Any, ClassVar

from kombu.transport import base, virtual

from taskd.base import clock
from taskd.base.errors import BrokerError, StorageError
from taskd.base.version import __version__
from taskd.brokers.kombu_client.channel import Channel
from taskd.brokers.kombu_client.link import ClientLink
from taskd.brokers.sqlite.store import BrokerFile
from taskd.brokers.timing import Timing
from taskd.config.stores import SqliteConfig
from taskd.storage.sqlite.database import path_of


class SqliteTransport(virtual.Transport):
    """A kombu connection to one broker file."""

    Channel = Channel
    can_parse_url = True
    default_port = 0
    driver_type = "sqlite"
    driver_name = "taskd"
    connection_errors: ClassVar[tuple[type[Exception], ...]] = (
        *base.Transport.connection_errors,
        StorageError,
    )
    channel_errors: ClassVar[tuple[type[Exception], ...]] = (*base.Transport.channel_errors, BrokerError)
    implements = virtual.Transport.implements.extend(exchange_type=frozenset(["direct", "topic", "fanout"]))

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        options = client.transport_options
        config = SqliteConfig(
            durability=options.get("durability", "normal"), busy_timeout=options.get("busy_timeout", 10.0)
        )
        path = path_of(client.hostname)
        self._open_link = lambda: ClientLink(lambda: BrokerFile(path, config, Timing()))
        self._link: ClientLink | None = None

    @property
    def link(self) -> ClientLink:
        """The open broker file; opened at the first use."""
        if self._link is None:
            self._link = self._open_link()
        return self._link

    def establish_connection(self) -> Any:
        """Open the file now, so that a broken one is this call's error."""
        assert self.link is not None
        return super().establish_connection()

    def close_connection(self, connection: Any) -> None:
        """Close all channels, returning their messages, and the file."""
        super().close_connection(connection)
        if self._link is not None:
            self._link.close()
            self._link = None

    def follow_consumers(self) -> None:
        """Wake up for the queues that the channels consume from."""
        self.link.listen_to(list(self._callbacks))

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        """Deliver one message; wait for it as long as ``timeout`` says (None: for ever)."""
        deadline = None if timeout is None else clock.monotonic() + timeout
        while True:
            try:
                self.cycle.get(self._deliver, timeout=timeout)  # type: ignore[union-attr]  # set in __init__
                return
            except Empty:
                remaining_s = None if deadline is None else deadline - clock.monotonic()
                if remaining_s is not None and remaining_s <= 0:
                    raise TimeoutError from None  # an alias of socket.timeout
                self.link.wait(remaining_s)

    def driver_version(self) -> str:
        """Return taskd's version."""
        return __version__

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:
        """Return the URL; there is no password in it."""
        return uri
