"""Tasks that fail, in every way that leaves a letter."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from taskd.app.app import App
from taskd.app.control_flow import Reject

app = App(broker="memory://failing", results="memory://failing")


class Odd(Exception):
    def __init__(self) -> None:
        super().__init__("odd")
        self.lock = threading.Lock()  # which cannot be pickled

    def __reduce__(self) -> Any:
        raise TypeError("a lock cannot be pickled")


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@app.task(name="failing.succeeds")
def succeeds() -> int:
    return 1


@app.task(name="failing.raises")
def raises(what: str) -> None:
    raise ValueError(what)


@app.task(name="failing.raises_early", acks="early")
def raises_early(what: str) -> None:
    raise ValueError(what)


@app.task(name="failing.raises_in_secret", keep_failures=False)
def raises_in_secret(what: str) -> None:
    raise ValueError(what)


@app.task(name="failing.rejects_early", acks="early")
def rejects_early(what: str) -> None:
    raise Reject(what)


@app.task(name="failing.retries", retry_for=(ValueError,), max_retries=2, retry_backoff=0.01)
def retries() -> None:
    raise ValueError("again")


@app.task(name="failing.retries_beside", bind=True, max_retries=1)
def retries_beside(self: Any) -> None:
    if self.request.retries == 0:
        self.retry(countdown=0, throw=False)
    raise ValueError("beside")


@app.task(name="failing.hangs", time_limit=0.2)
def hangs() -> None:
    time.sleep(600)


@app.task(name="failing.hangs_early", time_limit=0.2, acks="early")
def hangs_early() -> None:
    time.sleep(600)


@app.task(name="failing.dies_early", acks="early")
def dies_early() -> None:
    print("the last line", flush=True)
    os._exit(7)


@app.task(name="failing.raises_unpicklable")
def raises_unpicklable() -> None:
    raise Odd


@app.task(name="failing.raises_huge")
def raises_huge() -> None:
    raise ValueError("x" * 2_000_000)


@app.task(name="failing.raises_surrogates")
def raises_surrogates() -> None:
    raise ValueError("half a character: \udcff")


@app.task(name="failing.returns_nonsense")
def returns_nonsense() -> object:
    return object()


@app.task(name="failing.breaks_its_repr")
def breaks_its_repr() -> None:
    raise Broken


@app.task(name="failing.remembers")
def remembers(task_id: str) -> str:
    return task_id
