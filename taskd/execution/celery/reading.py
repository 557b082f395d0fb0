"""A Celery app as the reader of messages that nobody runs: its tasks, and what it accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kombu.serialization import prepare_accept_content, registry
from kombu.utils.encoding import safe_repr

from taskd.execution.celery.request import arguments_of
from taskd.execution.celery.schedule.declared import DeclaredCelery
from taskd.execution.celery.tasks import options_of
from taskd.protocol.delivery import Delivery
from taskd.sending.options import TaskOptions

#: To read it is to run what the sender chose, which is for workers alone.
_RUNS_CODE = frozenset({registry.name_to_type["pickle"]})
#: Characters of an exception in a report.
_MOST_SHOWN = 300


class CeleryReader:
    """Reads as ``CeleryExecutor`` does.  Receivers of the app's signals run, and none of its tasks."""

    def __init__(self, app: Any) -> None:
        DeclaredCelery(app)
        self.tasks: Mapping[str, TaskOptions] = {options.name: options for options in options_of(app)}
        self._accepted = prepare_accept_content(app.conf.accept_content)

    def unreadable(self, delivery: Delivery, compression: str | None) -> str:
        """Return why the app cannot read the arguments of a message; empty when it can."""
        if delivery.content_type in _RUNS_CODE and delivery.content_type in self._accepted:
            return ""
        try:
            arguments_of(delivery, compression, self._accepted)
        except Exception as error:  # noqa: BLE001 - the app's own serializer may raise anything
            return str(safe_repr(error))[:_MOST_SHOWN]
        return ""
