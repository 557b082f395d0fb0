"""A Celery app as remote control shows it: its settings and its software, as Celery's own worker does."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import billiard
import celery
import kombu
from celery.app.defaults import DEFAULTS
from celery.utils.saferepr import saferepr
from celery.utils.serialization import jsonify

_OF_CELERY = frozenset({*DEFAULTS, "deprecated_settings"})


def shown_settings(app: Any) -> Mapping[str, object]:
    """Return the settings that differ from Celery's defaults, as JSON values, passwords hidden.

    Django's own are not among them, although Celery finds its settings beside them.
    """
    table = app.conf.table(with_defaults=False, censored=True)
    own = {key: value for key, value in table.items() if key in _OF_CELERY}
    shown: dict[str, object] = jsonify(own, unknown_type_filter=saferepr)
    return shown


def software_of() -> str:
    """Return the releases in use, in the words of Celery's report."""
    python = ".".join(map(str, sys.version_info[:3]))
    return (
        f"software -> celery:{celery.VERSION_BANNER} kombu:{kombu.__version__} py:{python} "
        f"billiard:{billiard.__version__}"
    )
