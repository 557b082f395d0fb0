"""The task code of the fuzz tests: it takes whatever comes."""

from __future__ import annotations

from taskd import App

app = App()


@app.task(name="fuzz.any")
def take_any(*args: object, **kwargs: object) -> None:
    """Take whatever comes."""


@app.task(name="fuzz.length")
def length(text: str) -> int:
    return len(text)
