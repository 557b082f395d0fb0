"""The asking end of remote control: kombu's own pidbox client over the configured broker.

For short-lived programs; workers answer with ``node.py``.  Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import cast

from kombu.pidbox import Mailbox

from taskd.base.errors import BrokerError
from taskd.brokers.kombu.errors import BROKER_ERRORS, told
from taskd.brokers.kombu_client.connection import kombu_connection
from taskd.config.stores import Stores

NAMESPACE = "celery"
DEFAULT_TIMEOUT_S = 1.0

Arguments = Mapping[str, object]


class RemoteControl:
    """Asks the workers that share a broker.  A context manager; ``close`` may be called twice."""

    def __init__(self, broker_url: str, stores: Stores) -> None:
        self._url = broker_url
        self._connection = kombu_connection(broker_url, stores)
        self._mailbox = Mailbox(
            NAMESPACE, type="fanout", connection=self._connection, accept=["json"], serializer="json"
        )

    def inspect(
        self,
        method: str,
        arguments: Arguments | None = None,
        *,
        destination: Sequence[str] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        limit: int | None = None,
    ) -> dict[str, object]:
        """Ask every node, or those of ``destination``, and return the answers by node name.

        Blocks until ``limit`` answers are there (with a destination: one of each), or until none has come
        for ``timeout_s``.  Raises: ``BrokerError`` when the broker cannot be used.
        """
        given = dict(arguments or {})
        with self._errors("asked"):
            if destination:
                replies = self._mailbox.call(list(destination), method, given, timeout_s)
            else:
                replies = self._mailbox.multi_call(method, given, timeout_s, limit)
        answers: dict[str, object] = {}
        for reply in cast("list[dict[str, object]]", replies):
            answers.update(reply)
        return dict(sorted(answers.items()))

    def cast(
        self, method: str, arguments: Arguments | None = None, *, destination: Sequence[str] | None = None
    ) -> None:
        """Tell every node, or those of ``destination``, and wait for no answer.

        Raises: ``BrokerError`` when the broker cannot be used.
        """
        named = list(destination) if destination else None
        with self._errors("told"):
            self._mailbox.cast(named, method, dict(arguments or {}))

    def close(self) -> None:
        """Close the connection; the reply queue goes with it, unless the broker is away."""
        with suppress(BrokerError), self._errors("left"):
            self._connection.release()

    def __enter__(self) -> RemoteControl:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Turn whatever kombu and the transports below it raise into ``BrokerError``."""
        kombu = self._connection
        try:
            yield
        except (*BROKER_ERRORS, *kombu.connection_errors, *kombu.channel_errors) as error:
            raise BrokerError(f"the workers cannot be {what}: {told(error, self._url)}") from error
