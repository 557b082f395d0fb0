"""How much a program may write: a token bucket of bytes.  Pure; callers bring the time."""

from __future__ import annotations

from dataclasses import dataclass

#: A burst worth this many seconds passes, for example a long traceback from each of many tasks.
_BURST_S = 10.0
#: The cost of a line beside its bytes, so that floods of empty lines count too.
LINE_COST_BYTES = 64


@dataclass(slots=True)
class Allowance:
    """Of ``rate_bytes`` a second; 0 means no limit.

    Once it is used up, nothing passes until one second's worth has gathered: a program that floods
    is heard in blocks of whole lines, not in every thousandth line.
    """

    rate_bytes: int
    _tokens: float = -1.0
    _filled_at: float = 0.0
    exhausted: bool = False

    def take(self, amount: int, now: float) -> bool:
        """Return whether this many bytes may pass at the monotonic time ``now``."""
        if not self.rate_bytes:
            return True
        full = self.rate_bytes * _BURST_S
        gained = (now - self._filled_at) * self.rate_bytes
        self._tokens = full if self._tokens < 0 else min(full, self._tokens + gained)
        self._filled_at = now
        if self.exhausted and self._tokens < self.rate_bytes:
            return False
        # The last lines may overdraw, so that one longer than the burst passes at all.
        self._tokens = max(0.0, self._tokens - amount)
        self.exhausted = self._tokens <= 0
        return True
