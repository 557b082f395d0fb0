"""The two connections of an intake: one commands, the other hears when something changes in the lists.

They belong together: the server tells the second what the first has read.  When one is lost both are made
anew, under one descriptor that stays.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from taskd.base.errors import StorageError
from taskd.base.wakeup import AnyReadable
from taskd.storage.redis.line import Command, Reply
from taskd.storage.redis.link import RedisLink, Script
from taskd.storage.redis.subscription import Subscription, tracked

logger = logging.getLogger(__name__)


class RedisConnections:
    """Open from the start.  Raises: ``StorageError`` when the server cannot be used."""

    def __init__(self, link: RedisLink, nudge: str) -> None:
        """``link`` sends the commands.  ``nudge`` is a channel: who publishes there wakes this worker."""
        self._address = link.address
        self._nudge = nudge
        self.link = link
        self._wakeups = AnyReadable()
        self._subscription: Subscription | None = None
        self._whole = False
        self._tells_changes = True
        self._told = False
        self._followed = 0
        try:
            self._connect()
        except BaseException:
            self.close()
            raise
        self._whole = True

    def _connect(self) -> None:
        self._subscription = Subscription(self._address, channels=(self._nudge,))
        self._wakeups.add(self._subscription.fileno())
        try:
            self._subscription.follow(self.link)
            self._tells_changes = True
        except StorageError as error:
            if not self.link.is_connected:
                raise
            self._tells_changes = False
            logger.warning(
                "workers look for messages only once a second, because the server reports no changes: %s",
                error,
            )
        self._followed = self.link.opened
        self._told = False

    @property
    def whole(self) -> bool:
        """Whether both connections stand, as far as is known before a command is sent."""
        return (
            self._whole
            and self._subscription is not None
            and not self._subscription.lost
            and self.link.opened == self._followed
            and self.link.is_connected
        )

    def renew(self) -> None:
        """Make both anew; ``whole`` stays False until ``settled``.  Raises: ``StorageError``."""
        self._whole = False
        self.link.disconnect()
        if self._subscription is not None:
            self._subscription.close()
        self._connect()

    def settled(self) -> None:
        """Say that the state of the former connections has been made anew."""
        self._whole = True

    def fileno(self) -> int:
        """Return a descriptor that is readable when something came, or the second connection is lost."""
        return self._wakeups.fileno()

    @property
    def told(self) -> bool:
        """Whether ``fileno`` becomes readable when something comes into the lists."""
        return self._told or not self._tells_changes

    def clear(self) -> None:
        """Take what has come; nothing is told from now on until ``listen``.  Raises: ``StorageError``."""
        self._told = False
        if self._subscription is not None:
            self._subscription.receive()

    def listen(
        self, claim: Command, scripts: Sequence[Script], lists: Sequence[str], delayed: Sequence[str]
    ) -> Reply:
        """Claim, and be told of messages that come after that, in one trip.  Return the answer to the claim.

        The lists are asked about after the claim, or its own change of them would be told.  A message between
        the two shows by a list that is there: then nothing is told, and the claim is to be made again.
        Raises: ``StorageError``.
        """
        commands = (*tracked(delayed), claim, *tracked(lists))
        _, _, answer, _, filled = self.link.pipeline(commands, scripts)
        self._told = not filled
        return answer

    def nudge(self) -> None:
        """Make ``fileno`` readable."""
        self.link.call("PUBLISH", self._nudge, "")

    def close(self) -> None:
        """Close both for good.  May be called twice."""
        self._wakeups.close()
        if self._subscription is not None:
            self._subscription.close()
        self.link.close()
