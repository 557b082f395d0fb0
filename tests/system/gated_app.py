"""Task code whose import lasts as long as the file stands that ``CLOSED`` names."""

from __future__ import annotations

import os
import time

from taskd import App

app = App()
while os.path.exists(os.environ["CLOSED"]):
    time.sleep(0.01)
