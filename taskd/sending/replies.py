"""Results as messages over the configured broker: what ``taskd.results.rpc``, blind to brokers, is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from taskd.base.errors import BrokerError, StorageError
from taskd.brokers.base import Broker, Mailbox, Replying
from taskd.config.kinds import BrokerCan
from taskd.config.schema import Config
from taskd.protocol.delivery import Outgoing
from taskd.results import factory
from taskd.results.base import ResultStore, StoredResult

#: A reply queue expires even when results do not: else each process would leave one for ever.
_LONGEST_S = 86_400.0


def open_results(config: Config, broker: Broker) -> ResultStore:
    """Return the result store of a configuration; nothing is opened yet.  Raises: ``StorageError``."""
    post = None
    if BrokerCan.REPLY in broker.kind.can:
        post = BrokerPost(cast("Replying", broker), config.result_expires)
    return factory.connect(config.results, config.stores, post)


class BrokerPost:
    """``Post`` over a broker, which outlives it."""

    def __init__(self, broker: Replying, expires_s: float) -> None:
        self._broker = broker
        self.expires_s = expires_s
        self._sender = broker.reply_sender()

    def send(self, results: Sequence[StoredResult]) -> None:
        """Publish each record to its queue, if that exists."""
        with _as_storage():
            self._sender.publish([_letter(result) for result in results])

    def box(self, queue: str) -> BrokerBox:
        """Open a queue, made if missing."""
        with _as_storage():
            return BrokerBox(self._broker.reply_box(queue, self.expires_s or _LONGEST_S))

    def close(self) -> None:
        """Release the sender's connection."""
        self._sender.close()


class BrokerBox:
    """``Box`` over a mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def receive(self) -> Sequence[bytes]:
        """Return the records that have arrived."""
        with _as_storage():
            return [delivery.body for delivery in self._mailbox.receive()]

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have arrived."""
        return self._mailbox.fileno()

    def close(self) -> None:
        """Release the connection."""
        self._mailbox.close()


def _letter(result: StoredResult) -> Outgoing:
    return Outgoing(
        routing_key=result.reply_to,
        headers=b"{}",
        body=result.record,
        correlation_id=result.correlation_id or result.task_id,
    )


@contextmanager
def _as_storage() -> Iterator[None]:
    """A store of results has the errors of stores."""
    try:
        yield
    except BrokerError as error:
        raise StorageError(f"results over the broker: {error}") from error
