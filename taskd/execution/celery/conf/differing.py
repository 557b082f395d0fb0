"""The settings of an app that differ from Celery's defaults, by the installed Celery's own table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery.app import defaults

from taskd.base.urls import MASK, masked
from taskd.execution.celery.conf.translating import broker_url

_SECRETS = ("password", "secret", "token", "access_key", "_key", "auth_kwargs", "engine_options")
_ADDRESSES = ("broker_url", "broker_read_url", "broker_write_url", "result_backend", "database_url")
_LONGEST = 60


def settings_of(app: Any) -> Mapping[str, object]:
    """Return every setting of the installed Celery with the app's value."""
    found = {name: _value(app.conf, name) for name in defaults.DEFAULTS}
    # An unset one takes the name of a queue: it differs in nothing.
    for name in ("task_default_exchange", "task_default_routing_key"):
        if found.get(name) == found["task_default_queue"]:
            found[name] = None
    for name in ("broker_read_url", "broker_write_url"):
        if found.get(name) == found["broker_url"]:
            found[name] = None
    return found


def differing(settings: Mapping[str, object]) -> Mapping[str, object]:
    """Return the settings whose value is not Celery's default."""
    return {
        name: value for name, value in settings.items() if not _is_same(value, defaults.DEFAULTS.get(name))
    }


def shown_setting(name: str, value: object) -> str:
    """Return a value for people, without a secret."""
    if value and (name in _ADDRESSES or "://" in str(value)) and not isinstance(value, Mapping):
        return masked(broker_url({"broker_url": value}))
    if any(each in name for each in _SECRETS) and not name.startswith(("worker_", "task_")):
        return MASK
    if isinstance(value, Mapping):
        return f"{{{', '.join(map(str, value))}}}"[:_LONGEST]
    if isinstance(value, (list, tuple)):
        value = ", ".join(str(getattr(each, "name", each)) for each in value)
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _value(conf: Any, name: str) -> object:
    try:
        # The attribute, for some are properties that look at the environment first.
        return getattr(conf, name)
    except AttributeError:
        return defaults.DEFAULTS[name]


def _is_same(value: object, default: object) -> bool:
    if isinstance(value, (list, tuple)) and isinstance(default, (list, tuple)):
        return list(value) == list(default)
    return value == default or (not value and default is None)
