"""The beat program over a ``FaultyLoop``."""

from __future__ import annotations

import sys

from taskd.beat import __main__ as beat
from tests.component.once_failing_loop import FaultyLoop

vars(beat)["Loop"] = FaultyLoop

if __name__ == "__main__":
    sys.exit(beat.main())
