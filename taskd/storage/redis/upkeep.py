"""The keys of one room on Redis as an operator sees them; the server keeps their memory itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from taskd.base.formats import FormatMark, Formats
from taskd.storage.redis.address import Address
from taskd.storage.redis.link import RedisLink
from taskd.storage.redis.marked import Marked
from taskd.storage.upkeep import Extent


class KeysUpkeep:
    """``Upkeep`` of the keys below one prefix."""

    def __init__(self, address: Address, marked: Marked) -> None:
        self._address = address
        self._marked = marked
        self.place = f"{address.shown} {marked.prefix}taskd:*"

    @property
    def formats(self) -> Formats[object]:
        """The formats that this taskd knows."""
        return self._marked.formats

    def mark(self) -> FormatMark | None:
        """Return the format that is there; keys without a mark are of the first."""
        with closing(RedisLink(self._address)) as link:
            return self._marked.found(link.replies)

    def extent(self) -> Extent | None:
        """Return None: only the server knows."""
        return None

    def bring_up(self) -> None:
        """Make the steps that are due."""
        with closing(RedisLink(self._address, self._marked)) as link:
            link.call("PING")

    def problems(self) -> Sequence[str]:
        """Return nothing: whoever gets an answer has sound keys."""
        self.mark()
        return ()

    def stalls(self) -> str:
        """Return nothing: nobody waits."""
        return ""

    def compact(self, pause: Callable[[float], object]) -> bool:
        """Return False: the server gives memory back by itself."""
        return False
