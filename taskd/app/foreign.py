"""Tasks of Celery that are given to ``@app.task``.  Celery itself is not imported."""

from __future__ import annotations


def refuse_task(function: object) -> None:
    """Refuse a task of Celery, and its ``run`` where that is ``bind=True`` or ``autoretry_for``.

    Called as a function such a one retries nothing, and neither Celery's signals nor what hangs on them, as
    Sentry does, hear of it.  Raises: ``TypeError`` naming the task.
    """
    globals_of = getattr(function, "__globals__", {})
    owner = getattr(function, "__self__", function)
    if globals_of.get("__name__") == "celery.app.autoretry":
        owner = next(
            (cell.cell_contents for cell in function.__closure__ or () if _is_task(cell.cell_contents)),  # type: ignore[attr-defined]  # it is a function
            owner,
        )
    elif not _is_task(owner):
        return
    name = getattr(owner, "name", None) or getattr(function, "__qualname__", repr(function))
    raise TypeError(
        f"@app.task: {name} is a task of Celery, which only Celery's worker can retry; expected the "
        "function itself, with options of @app.task such as retry_for (docs/celery.md)"
    )


def _is_task(thing: object) -> bool:
    kinds = getattr(thing.__class__, "__mro__", ())  # of what a proxy stands for
    return any(kind.__module__ == "celery.app.task" and kind.__name__ == "Task" for kind in kinds)
