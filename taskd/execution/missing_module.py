"""Say which module is missing that a Celery app names as text: its settings, or one with tasks.

Celery imports these itself, long after the line that names them, and reports a missing attribute of the
package around them.  The traceback shows the name that it looked for.  Nothing here imports Celery.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import FrameType

from taskd.base.errors import LoadError, ResolveError
from taskd.base.resolve import failure_of

_LOADER = "celery.loaders.base"


def explained(error: Exception, path: str) -> Exception | None:
    """Return what to raise for an error of Celery's own imports; None for any other error."""
    for root in reversed(list(_chain(error))):
        for frame in _frames(root):
            if frame.f_globals.get("__name__") != _LOADER:
                continue
            match frame.f_code.co_name:
                case "_smart_import":
                    return _of_settings(root, str(frame.f_locals["path"]), path)
                case "import_task_module":
                    module = str(frame.f_locals["module"])
                    said = f'module "{module}" is missing, which imports or include of app "{path}" names'
                    return ResolveError(said) if _is_missing(root, module) else None
    return None


def _of_settings(root: BaseException, name: str, path: str) -> Exception:
    module = name.partition(":")[0]
    if _is_missing(root, module):
        where = _place_of(name, path)
        return ResolveError(
            f'settings module "{module}" is missing, which config_from_object of app "{path}" names{where}'
        )
    django = os.environ.get("DJANGO_SETTINGS_MODULE", "")
    if django and _is_missing(root, django):
        return ResolveError(f'settings module "{django}" is missing, which DJANGO_SETTINGS_MODULE names')
    reason, detail = failure_of(root)
    return LoadError(f'settings "{name}" of app "{path}" do not load: {reason}', detail)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        yield here
        here = here.__cause__ or here.__context__


def _frames(error: BaseException) -> Iterator[FrameType]:
    here = error.__traceback__
    while here is not None:
        yield here.tb_frame
        here = here.tb_next


def _is_missing(error: BaseException, module: str) -> bool:
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    return name is not None and f"{module}.".startswith(f"{name}.")


def _place_of(name: str, path: str) -> str:
    """Return `` in FILE:LINE`` of the line that names the settings, or "" where the app's module has none."""
    module = path.partition(":")[0]
    for candidate in (module, f"{module}.celery", module.rpartition(".")[0]):
        file = getattr(sys.modules.get(candidate), "__file__", None)
        if not file:
            continue
        try:
            with open(file, encoding="utf-8", errors="replace") as source:
                for number, line in enumerate(source, 1):
                    if f'"{name}"' in line or f"'{name}'" in line:
                        return f" in {file}:{number}"
        except OSError:
            continue
    return ""
