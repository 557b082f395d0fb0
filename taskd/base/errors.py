"""The tree of taskd's own errors.

A message says what happened, to which thing, what was expected, and what to do.  Errors of
libraries are translated at the gate that imports the library, with ``from``.
"""

from __future__ import annotations


class TaskdError(Exception):
    """Base of every error that taskd raises on purpose."""


class ConfigError(TaskdError):
    """The configuration cannot be used; the message lists every problem, one a line."""


class ResolveError(TaskdError):
    """A name such as ``shop.tasks:app`` does not lead to an object."""


class LoadError(TaskdError):
    """The user's code does not load; ``detail`` is the traceback, and may end with how to see it by hand."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.detail = detail


class StartError(TaskdError):
    """A service that could not start; its started parts are stopped again."""


class BackendError(TaskdError):
    """A broker or a store refused, or cannot be used now."""


class StorageError(BackendError):
    """A database file cannot be used: unwritable, full, corrupt, or locked for too long."""


class StorageFullError(StorageError):
    """No space is left for the database; nothing of the failed transaction was written."""


class StorageCorruptError(StorageError):
    """The file is not a sound SQLite database."""


class StorageReplacedError(StorageError):
    """A file that was deleted or replaced while it was open; data for the open one is lost."""


class NewerFormatError(StorageError):
    """The store was written by a newer taskd in a way that this one cannot read."""


class BrokerError(BackendError):
    """The broker refused or could not do what was asked."""


class LeaseLostError(BrokerError):
    """Another generation took over this worker's claims; nothing may be settled any more."""


class TooLateError(BrokerError):
    """The time within which these messages might be sent has passed; nothing was sent."""


class ProtocolError(TaskdError):
    """Bytes from the wire do not follow their protocol; the message says where and how."""


class SerializationError(ProtocolError):
    """A value cannot be written in, or read from, an allowed content type."""


class PoolError(TaskdError):
    """A pool cannot run what was submitted."""


class SoftTimeLimitExceeded(TaskdError):
    """Raised inside a running job when its soft time limit passed; the job may clean up and end."""


class ControlError(TaskdError):
    """A control request was refused or could not be delivered."""


class DaemonDownError(ControlError):
    """Nobody listens on the control socket."""


class RefusedError(ControlError):
    """The daemon understood the request and does not do it; the message is the daemon's."""
