"""The only importer of setproctitle: readable names in ps(1) and top(1)."""

from __future__ import annotations

import setproctitle


def set_title(text: str) -> None:
    """Set the process title to ``taskd: <text>`` and the thread name that top(1) shows.

    Call it after a fork, not before: the title is copied to the child.
    """
    setproctitle.setproctitle(f"taskd: {text}")
    setproctitle.setthreadtitle(f"taskd:{text.replace(' ', '-')}"[:15])
