"""Identifiers: task ids, node names, and the origin that Celery writes in its messages."""

from __future__ import annotations

import os
import socket
from uuid import uuid4

# The host part of node names and origins; read once, as Celery does.
_HOST = socket.gethostname()


def new_task_id() -> str:
    """Return a random UUID in text form, the shape Celery's clients expect of a task id."""
    return str(uuid4())


def node_name(program: str) -> str:
    """Return the node name of a program of this host, such as ``mail-1@web3``."""
    return f"{program}@{_HOST}"


def origin() -> str:
    """Return the sender's name as Celery writes it in the ``origin`` header: ``gen<pid>@host``."""
    return f"gen{os.getpid()}@{_HOST}"
