"""One connection to Redis that only listens: to channels, and to changes of keys that another one reads.

Redis 6 and later tell a client when keys that it has read change (client-side caching, redis.io/docs
"Server-assisted client side caching").  So a worker learns of a message in any of its lists at once, whoever
pushed it, without taking it off the list as a blocking pop would.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import RedisError as LibraryError

from taskd.base.lifecycle import Deadline
from taskd.storage.redis.address import Address
from taskd.storage.redis.errors import translate
from taskd.storage.redis.line import Argument, Command, Line
from taskd.storage.redis.link import RedisLink

_INVALIDATIONS = b"__redis__:invalidate"
_PUBLISHED = (b"message", b"pmessage")


class Subscription:
    """Open from the start.  Not thread-safe.  Raises: ``StorageError`` when it cannot connect."""

    def __init__(
        self, address: Address, *, channels: Sequence[str] = (), patterns: Sequence[str] = ()
    ) -> None:
        """``patterns`` are of channels, with ``*``, ``?`` and ``[...]`` (PSUBSCRIBE)."""
        self._address = address
        #: The connection is gone; only a new subscription helps.
        self.lost = False
        self._line = Line(address.connect())
        # One command each: one with several channels would be answered several times.
        commands: list[Command] = [("CLIENT", "ID"), ("SUBSCRIBE", _INVALIDATIONS)]
        commands += [("SUBSCRIBE", channel) for channel in channels]
        commands += [("PSUBSCRIBE", pattern) for pattern in patterns]
        try:
            replies = self._line.ask(commands)
            refused = next((reply for reply in replies if isinstance(reply, LibraryError)), None)
            if refused is not None:
                raise refused
            self._line.stop_waiting()
        except (LibraryError, OSError) as error:
            self._line.close()
            raise translate(error, address.shown) from error
        self._client_id = int(replies[0])
        #: Messages that were published already, among the confirmations.
        self._early = replies[1:]

    def follow(self, link: RedisLink) -> None:
        """Be told here of changes of the keys that ``link`` reads with ``tracked``, its own among them.

        Why not NOLOOP: a change by ``link`` itself would use up the one notice, and nothing would be told of
        the next change by somebody else.
        It holds for the present connection of ``link``.
        Raises: ``StorageError`` when the server cannot (before Redis 6), or the user may not.
        """
        link.call("CLIENT", "TRACKING", "ON", "REDIRECT", self._client_id, "OPTIN")

    def join(self, channels: Sequence[str]) -> None:
        """Hear these channels, too.  Blocks until the server has confirmed it.  Raises: ``StorageError``."""
        missing = {channel.encode() for channel in channels}
        deadline = Deadline.after(self._address.timeout_s)
        try:
            self._line.tell(("SUBSCRIBE", *channels))
            while missing:
                if not self._line.speaks_within(deadline.remaining_s()):
                    raise TimeoutError("the server does not answer")
                for reply in self._line.arrived():
                    if isinstance(reply, LibraryError):
                        raise reply
                    if reply[0] == b"subscribe":
                        missing.discard(reply[1])
                    self._early.append(reply)
        except (LibraryError, OSError) as error:
            self.lost = True
            raise translate(error, self._address.shown) from error

    def leave(self, channels: Sequence[str]) -> None:
        """Stop hearing these channels; messages that came already are dropped.  Raises: ``StorageError``."""
        self.receive()
        try:
            self._line.tell(("UNSUBSCRIBE", *channels))
        except OSError as error:
            self.lost = True
            raise translate(error, self._address.shown) from error

    def fileno(self) -> int:
        """Return a descriptor that is readable when something came."""
        return self._line.fileno()

    def receive(self) -> Sequence[tuple[bytes, bytes]]:
        """Return what was published since, as channel and text; changes of keys are left out.

        Never waits.  Raises: ``StorageError`` when the connection is lost.
        """
        try:
            replies = [*self._early, *self._line.arrived()]
        except (LibraryError, OSError) as error:
            self.lost = True
            raise translate(error, self._address.shown) from error
        self._early = []
        # The last two of "message" and of "pmessage" are alike.
        published = [(reply[-2], reply[-1]) for reply in replies if reply[0] in _PUBLISHED]
        return [each for each in published if each[0] != _INVALIDATIONS]

    def close(self) -> None:
        """Listen no more.  May be called twice."""
        self._line.close()


def tracked(keys: Sequence[Argument]) -> Sequence[Command]:
    """Return the commands after which the next change of any of the keys is told once.

    The second answers with how many of them exist.
    """
    return (("CLIENT", "CACHING", "YES"), ("EXISTS", *keys))
