"""``python -m tests.component.patched KIND MODULE ARGUMENT...``: run a module in a patched process."""

from __future__ import annotations

import runpy
import sys
import warnings


def patch(kind: str) -> None:
    if kind == "gevent":
        from gevent import monkey

        monkey.patch_all()
    elif kind == "eventlet":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import eventlet
        eventlet.monkey_patch()


if __name__ == "__main__":
    patch(sys.argv[1])
    sys.argv[:] = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
