"""A mailbox to which an AMQP server pushes its messages."""

from __future__ import annotations

from taskd.base.wakeup import AnyReadable, Wakeup
from taskd.brokers.amqp.link import AmqpLink
from taskd.brokers.amqp.server import AmqpServer
from taskd.brokers.kombu.mailbox import KombuMailbox

_CONSUMER = "mailbox"


class AmqpMailbox(KombuMailbox):
    """``Mailbox`` over one AMQP connection."""

    _server: AmqpServer
    _link: AmqpLink

    def _connect(self) -> None:
        self._link = self._server.connect()
        self._poll = Pushed(self._link)

    def _listen(self) -> None:
        self._link.deliver(self._channel, self._on_message, self._poll.set)
        self._channel.basic_consume(self._queue, consumer_tag=_CONSUMER, no_ack=True)

    def _take(self) -> None:
        self._link.pump()

    def _delete(self) -> None:
        self._channel.basic_cancel(_CONSUMER)
        super()._delete()


class Pushed:
    """A descriptor that is readable when a connection may have brought something."""

    def __init__(self, link: AmqpLink) -> None:
        #: For messages that came while the connection waited for something else.
        self._wakeup = Wakeup()
        self._poller = AnyReadable()
        self._poller.add(self._wakeup.fileno())
        self._poller.add(link.fileno())

    def set(self) -> None:
        """Make it readable."""
        self._wakeup.set()

    def clear(self) -> None:
        """Forget ``set``; it stays readable while the socket is."""
        self._wakeup.clear()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._poller.fileno()

    def close(self) -> None:
        """Release it; the connection stays open."""
        self._poller.close()
        self._wakeup.close()
