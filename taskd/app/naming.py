"""The name of a task that is given none."""

from __future__ import annotations

import os.path
import sys
from collections.abc import Callable

from taskd.base.errors import TaskdError


def default_name(function: Callable[..., object]) -> str:
    """Return ``module.function``.

    In a script the module is ``__main__`` only for itself.  A worker imports it by the name of its file, or
    by the name that followed ``python -m``, so that name is taken.

    Raises: ``TaskdError`` in an interactive session, where no worker can import the function.
    """
    name = getattr(function, "__name__", type(function).__name__)
    module = function.__module__
    if module != "__main__":
        return f"{module}.{name}"
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return f"{spec.name}.{name}"
    file = getattr(main, "__file__", None)
    if file is None:
        raise TaskdError(
            f'task "{name}" is defined in an interactive session, which no worker can import; put it into a '
            f"module, or name it: @app.task(name=...)"
        )
    return f"{os.path.splitext(os.path.basename(file))[0]}.{name}"
