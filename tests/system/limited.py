"""Task code with a rate limit of its own."""

from __future__ import annotations

from taskd import App
from tests.system.shop import append

app = App()


@app.task(name="limited.note", ignore_result=True, rate_limit="1/h")
def note(path: str, line: str) -> None:
    append(path, line)
