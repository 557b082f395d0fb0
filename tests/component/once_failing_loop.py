"""A loop in which every callback raises once, for the tests of barriers; it finds them by itself."""

from __future__ import annotations

import os
import sys

from taskd.base.loop import Callback, Loop, Owner, name_of

#: ``before``: instead of its work; ``after``: when that is done.
WHEN = os.environ.get("TASKD_FAULTS", "")

raised: set[str] = set()


class FaultyLoop(Loop):
    """Makes each callback raise the first time that it is called, whoever has registered it."""

    def attempt(self, callback: Callback, owner: Owner | None = None) -> bool:
        name = name_of(callback)
        if name in raised or not WHEN:
            return super().attempt(callback, owner)
        raised.add(name)

        def defective() -> None:
            if WHEN == "after":
                callback()
            raise LookupError("nobody foresaw this")

        defective.__qualname__ = name
        sys.stderr.write(f"raises once: {name}\n")
        return super().attempt(defective, owner)
