"""Messages to systemd over its notification socket (sd_notify(3)); the only importer of sdnotify.

Only the supervisor speaks: programs are started without NOTIFY_SOCKET.  Without the socket every
method does nothing.  Nothing is sent either when WATCHDOG_PID names another process, because the
environment is then somebody else's.
"""

from __future__ import annotations

import os
from typing import Protocol

import sdnotify

from taskd.base import clock
from taskd.base.loop import Loop, LoopTimer, Owner

# While a stop takes its time: each message must come before the extension of the last one is over.
_EXTEND_EVERY_S = 5.0
_EXTENSION_S = 15.0
_AFTER_AN_ERROR_S = 1.0


class _Sender(Protocol):
    def notify(self, state: str) -> None: ...


class Notifier:
    """Speaks to the service manager.  Never blocks, never raises.  For the loop's thread.

    The watchdog is answered by a timer of the loop, so that a loop that hangs is noticed.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._sender = _connect()
        self._ready = False
        self._stopping = False
        self._text = ""
        self._timers: dict[str, LoopTimer] = {}
        if self._sender is not None and (every_s := _watchdog_s() / 2) > 0:
            self._repeat_later(every_s, "WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say in one line how things are; only changes are sent."""
        if text != self._text:
            self._text = text
            self._send(f"STATUS={_one_ascii_line(text)}")

    def ready(self) -> None:
        """Say, once, that every wanted program does its work."""
        if not self._ready and not self._stopping:
            self._ready = True
            self._send("READY=1")

    def reloading(self) -> None:
        """Say that a reload begins; ``reloaded`` must follow, also when nothing was changed."""
        if self._ready and not self._stopping:
            # Both in one datagram: Type=notify-reload compares the time with that of its own request.
            self._send(f"RELOADING=1\nMONOTONIC_USEC={int(clock.monotonic() * 1e6)}")

    def reloaded(self) -> None:
        """Say that a reload is over."""
        if self._ready and not self._stopping:
            self._send("READY=1")

    def stopping(self) -> None:
        """Say that a stop begins, and go on asking for the time it needs."""
        if self._stopping:
            return
        self._stopping = True
        self._send("STOPPING=1")
        if self._sender is not None:
            self._repeat(_EXTEND_EVERY_S, f"EXTEND_TIMEOUT_USEC={int(_EXTENSION_S * 1e6)}")

    def _repeat(self, every_s: float, state: str) -> None:
        self._send(state)
        self._repeat_later(every_s, state)

    def _repeat_later(self, every_s: float, state: str, delay_s: float | None = None) -> None:
        # The next one must come, whatever happens to this one: systemd would end the daemon.
        def again(_why: str) -> None:
            self._timers[state].cancel()
            self._repeat_later(every_s, state, min(every_s, _AFTER_AN_ERROR_S))

        owner = Owner(f"a message to systemd: {state}", again)
        self._timers[state] = self._loop.call_later(
            every_s if delay_s is None else delay_s, lambda: self._repeat(every_s, state), owner
        )

    def _send(self, state: str) -> None:
        if self._sender is not None:
            self._sender.notify(state)


def _connect() -> _Sender | None:
    if not os.environ.get("NOTIFY_SOCKET") or not _addressed_to_us():
        return None
    notifier = sdnotify.SystemdNotifier()
    if notifier.socket is None:
        return None
    notifier.socket.setblocking(False)  # a service manager that does not read must not stop the loop
    sender: _Sender = notifier
    return sender


def _addressed_to_us() -> bool:
    return os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())


def _watchdog_s() -> float:
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() else 0.0


def _one_ascii_line(text: str) -> str:
    # sdnotify encodes in latin-1 and drops silently what does not fit.
    return " ".join(text.split()).encode("ascii", "replace").decode()
