"""Chords on Redis whose body is claimed by a process that may have died before it sent the body.

From 5.7 on, the process that counts the last part of a chord claims its body for some seconds, sends it, and
removes the chord.  When it is killed between, its message comes again here at once, while the claim stands,
and nobody would look when the claim has ended.  With Celery's own worker it comes again after an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The chord is not removed, and somebody has the claim.
_BOTH = 2
WAITING = "its chord is complete, and its body is claimed by a process that may have died"


def is_claimed(task: Any, fields: Mapping[str, Any]) -> bool:
    """Return whether the chord that a task belongs to waits for whoever has claimed its body.

    ``fields``: the request.  Asks the backend.  Raises: whatever its client raises.
    """
    group = fields.get("group")
    backend = task.backend
    # Without Redis, or before 5.7, there is no such script and no claim.
    if not group or not fields.get("chord") or not hasattr(backend, "_chord_part_return_script"):
        return False
    size, claim = (backend.get_key_for_group(group, part) for part in (".s", ".c"))
    return int(backend.client.exists(size, claim)) == _BOTH
