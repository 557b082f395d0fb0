"""Chooses the configuration file when several could be meant.  Light: every start imports it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

DEFAULT_PATH = "/etc/taskd.toml"
PATH_VARIABLE = "TASKD_CONFIG"
#: In the working directory, for whoever is not root.
LOCAL_NAME = "taskd.toml"
#: The rule for help texts.
RULE = f"${PATH_VARIABLE}, else ./{LOCAL_NAME} unless root, else {DEFAULT_PATH}"


def find(explicit: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the path of the file: that of --config, of TASKD_CONFIG, ./taskd.toml, or /etc/taskd.toml.

    The file in the working directory counts when this user or root owns it and nobody else may write it.
    It never counts for root: the directory in which root happens to stand must not decide what root runs.
    """
    return explicit or environ.get(PATH_VARIABLE) or _local() or DEFAULT_PATH


def found_here(explicit: str | None = None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the file in the working directory if ``find`` takes it; None where a file was named.

    Nobody named it, so programs say that they read it.
    """
    return None if explicit or environ.get(PATH_VARIABLE) else _local()


def _local() -> str | None:
    user = os.geteuid()
    if user == 0:
        return None
    try:
        path = os.path.abspath(LOCAL_NAME)
        found = os.stat(path)
    except OSError:
        return None
    is_ours = found.st_uid in {0, user} and not found.st_mode & stat.S_IWOTH
    return path if is_ours and stat.S_ISREG(found.st_mode) else None
