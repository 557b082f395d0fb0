"""``python -m taskd.worker.eventlet_entry NAME``: a worker whose process is patched by eventlet.

Patched first, then everything else is imported: a module that was imported before could have kept an
unpatched socket, lock or selector.
"""

from __future__ import annotations

import warnings


def main() -> None:
    """Patch the process and run the worker."""
    with warnings.catch_warnings():
        # The documents say to users of this pool what eventlet says here on each import.
        warnings.simplefilter("ignore")
        try:
            import eventlet
        except ImportError:
            eventlet = None
    if eventlet is not None:
        eventlet.monkey_patch()
    from taskd.worker import __main__ as worker

    if eventlet is None:
        worker.lacks("eventlet")
    worker.main()


if __name__ == "__main__":
    main()
