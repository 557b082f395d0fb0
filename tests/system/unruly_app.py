"""Task code that takes over what belongs to its worker: logging and signals, at import and in a task."""

from __future__ import annotations

import logging.config
import os
import signal
import threading

from taskd import App

app = App()


def configure(path: str) -> None:
    """Send everything to a file, and disable all loggers that are there."""
    handlers = {"file": {"class": "logging.FileHandler", "filename": path}}
    logging.config.dictConfig(
        {"version": 1, "handlers": handlers, "root": {"handlers": ["file"], "level": "WARNING"}}
    )


def take_signals() -> None:
    """Be deaf to TERM in three ways; only the main thread can."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


if path := os.environ.get("UNRULY_LOG"):
    configure(path)
take_signals()


@app.task
def fail(path: str = "") -> None:
    """Raise, having configured logging if there is a path."""
    if path:
        configure(path)
    logging.getLogger("shop").warning("the shop says so")
    raise ValueError("the pen broke")


@app.task
def deafen() -> None:
    """Take the signals."""
    take_signals()
