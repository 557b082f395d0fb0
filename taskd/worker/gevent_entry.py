"""``python -m taskd.worker.gevent_entry NAME``: a worker whose process is patched by gevent.

Patched first, then everything else is imported: a module that was imported before could have kept an
unpatched socket, lock or selector.
"""

from __future__ import annotations


def main() -> None:
    """Patch the process and run the worker."""
    try:
        from gevent import monkey
    except ImportError:
        monkey = None
    if monkey is not None:
        monkey.patch_all()
    from taskd.worker import __main__ as worker

    if monkey is None:
        worker.lacks("gevent")
    worker.main()


if __name__ == "__main__":
    main()
