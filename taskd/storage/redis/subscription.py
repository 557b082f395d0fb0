"""One connection to Redis that only listens: to channels, and to changes of keys that another one reads.

Redis 6 and later tell a client when keys that it has read change (client-side caching, redis.io/docs
"Server-assisted client side caching"): so a worker learns of a message in any of its lists at once, whoever
pushed it, without taking it off the list as a blocking pop would.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import RedisError as LibraryError

from taskd.storage.redis.address import Address
from taskd.storage.redis.errors import translate
from taskd.storage.redis.line import Argument, Command, socket_of
from taskd.storage.redis.link import Link

_INVALIDATIONS = b"__redis__:invalidate"


class Subscription:
    """Open from the start.  Not thread-safe.  Raises: ``StorageError`` when it cannot connect."""

    def __init__(
        self, address: Address, *, channels: Sequence[str] = (), patterns: Sequence[str] = ()
    ) -> None:
        """``patterns`` are of channels, with ``*``, ``?`` and ``[...]`` (PSUBSCRIBE)."""
        self._address = address
        #: The connection is gone; only a new subscription helps.
        self.lost = False
        self._connection = address.connect()
        self._fd = socket_of(self._connection).fileno()
        try:
            self._client_id = int(str(self._ask("CLIENT", "ID")))
            self._connection.send_command("SUBSCRIBE", _INVALIDATIONS, *channels, check_health=False)
            if patterns:
                self._connection.send_command("PSUBSCRIBE", *patterns, check_health=False)
            for _ in range(1 + len(channels) + len(patterns)):
                self._connection.read_response()
        except (LibraryError, OSError) as error:
            self._connection.disconnect()
            raise translate(error, address.shown) from error

    def _ask(self, *command: Argument) -> object:
        self._connection.send_command(*command, check_health=False)
        return self._connection.read_response()

    def follow(self, link: Link) -> None:
        """Be told here of changes of the keys that ``link`` reads with ``tracked``, its own among them.

        Why not NOLOOP: a change by ``link`` itself would use up the one notice, and nothing would be told of
        the next change by somebody else.
        It holds for the present connection of ``link``.
        Raises: ``StorageError`` when the server cannot (before Redis 6), or the user may not.
        """
        link.call("CLIENT", "TRACKING", "ON", "REDIRECT", self._client_id, "OPTIN")

    def fileno(self) -> int:
        """Return a descriptor that is readable when something came."""
        return self._fd

    def receive(self) -> Sequence[tuple[bytes, bytes]]:
        """Return what was published since, as channel and text; changes of keys are left out.

        Never waits.  Raises: ``StorageError`` when the connection is lost.
        """
        messages = []
        try:
            while self._connection.can_read(timeout=0):
                reply = self._connection.read_response()
                if isinstance(reply, list) and reply[-2] != _INVALIDATIONS:
                    messages.append((reply[-2], reply[-1]))  # of "message" and of "pmessage" alike
        except (LibraryError, OSError) as error:
            self.lost = True
            raise translate(error, self._address.shown) from error
        return messages

    def close(self) -> None:
        """Listen no more.  May be called twice."""
        self._connection.disconnect()


def tracked(keys: Sequence[Argument]) -> Sequence[Command]:
    """Return the commands after which the next change of any of the keys is told once."""
    return (("CLIENT", "CACHING", "YES"), ("EXISTS", *keys))
