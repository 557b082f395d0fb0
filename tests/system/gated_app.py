"""Task code whose import lasts as long as the file stands that ``CLOSED`` names.

With ``GATED_CHILDREN`` only where a child of a prefork pool imports it.
"""

from __future__ import annotations

import os
import time

import setproctitle

from taskd import App

app = App()
is_child = setproctitle.getproctitle().startswith("taskd: child")
while os.path.exists(os.environ["CLOSED"]) and (is_child or "GATED_CHILDREN" not in os.environ):
    time.sleep(0.01)
