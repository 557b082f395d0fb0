"""SQLite's errors in our words: which file, what is wrong with it, and what to do."""

from __future__ import annotations

import os
import sqlite3

from taskd.base.errors import StorageCorruptError, StorageError, StorageFullError
from taskd.storage.sqlite.holders import holders

_LITTLE_SPACE_BYTES = 1024 * 1024


def translate(error: sqlite3.Error, path: str, busy_timeout_s: float) -> StorageError:
    """Return our error for SQLite's; told apart by text, for Python 3.10 has no error codes."""
    text = str(error)
    # An I/O error is all that SQLite says when the shared-memory file cannot grow.
    if "is full" in text or ("disk I/O" in text and _has_no_space(path)):
        return StorageFullError(
            f"{path}: no space left for the database ({text}); free space on "
            f"{os.path.dirname(path)}, nothing was lost"
        )
    if "malformed" in text or "not a database" in text:
        return StorageCorruptError(
            f"{path} is not a sound SQLite database ({text}); move it away and restore a copy, "
            f'or save what is readable with: sqlite3 "{path}" .recover'
        )
    if "locked" in text:
        return StorageError(
            f"{path} was locked by another process for more than {busy_timeout_s:g} s: {_holder(path)}, "
            "or raise sqlite.busy_timeout"
        )
    if "readonly" in text or "unable to open" in text:
        return StorageError(f"{path} cannot be written ({text}): {_why_not_writable(path)}")
    return StorageError(f"{path}: {text}")


def _holder(path: str) -> str:
    place = os.path.realpath(path)
    found = holders(place)
    if found:
        return f"{', '.join(found)} holds it; let that end"
    return f'nobody holds it now; see who has it open with: fuser -v "{place}" "{place}-shm"'


def _has_no_space(path: str) -> bool:
    try:
        space = os.statvfs(os.path.dirname(path))
    except OSError:
        return False
    return space.f_bavail * space.f_frsize < _LITTLE_SPACE_BYTES


def _why_not_writable(path: str) -> str:
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        return f"the directory {directory} does not exist; create it"
    user = os.geteuid()
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        hint = (
            "; sqlite://NAME.db, with two slashes, is a file beside the program" if directory == "/" else ""
        )
        files = "SQLite makes files beside the database"
        return f"user {user} may not write the directory {directory} ({files}){hint}"
    if os.path.isdir(path):
        return "it is a directory; name a file"
    if os.path.exists(path) and not os.access(path, os.W_OK, effective_ids=True):
        owner = os.stat(path).st_uid
        return f"user {user} may not write the file, which belongs to user {owner}: chown {user} {path}"
    return f"check that user {user} may write it and that its file system is not read-only"
