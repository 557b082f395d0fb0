"""Sentry and OpenTelemetry as the project uses them: each event and each span is one line of a file.

SHELF_SEEN names the file.  Both hold back what they have to say, in a queue or a batch, as in production.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import sentry_sdk
from celery import signals
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.transport import Transport


def see(**facts: object) -> None:
    """Write a line."""
    with open(os.environ["SHELF_SEEN"], "a") as lines:
        lines.write(json.dumps(facts) + "\n")


class FileTransport(Transport):
    """Sends nothing over the network, and nothing before it must: what a flush does not reach is lost."""

    def __init__(self, options: dict[str, object] | None = None) -> None:
        super().__init__(options)
        self._held: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Hold an envelope, as a background thread would for some time."""
        self._held.append(envelope)

    def flush(self, timeout: float, callback: object = None) -> None:
        """Send what is held."""
        held, self._held = self._held, []
        for envelope in held:
            event = envelope.get_event()
            if event is not None:
                contexts = event.get("contexts", {})
                see(
                    by="sentry",
                    task_id=event.get("tags", {}).get("celery_task_id"),
                    task=contexts.get("trace", {}).get("op"),
                    error=event["exception"]["values"][-1]["type"],
                )


class FileExporter(SpanExporter):
    """Writes spans down."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            see(by="otel", task_id=(span.attributes or {})["celery.task_id"], name=span.name)
        return SpanExportResult.SUCCESS


def start() -> None:
    """Start both, before the processes of the pool are made."""
    sentry_sdk.init(
        dsn="https://public@localhost/1",
        transport=FileTransport,
        integrations=[CeleryIntegration(), DjangoIntegration()],
    )
    signals.worker_process_init.connect(_trace, weak=False)


def _trace(**_facts: object) -> None:
    """Make the spans of a process there: a thread of the exporter does not live through a fork."""
    provider = TracerProvider()
    # A minute: what is not flushed at the end is lost.
    provider.add_span_processor(BatchSpanProcessor(FileExporter(), schedule_delay_millis=60_000))
    tracer = provider.get_tracer("shelf")
    spans: dict[str, trace.Span] = {}

    def begin(task_id: str, task: object, **_facts: object) -> None:
        spans[task_id] = tracer.start_span(task.name, attributes={"celery.task_id": task_id})  # type: ignore[attr-defined]

    def end(task_id: str, **_facts: object) -> None:
        spans.pop(task_id).end()

    def leave(**_facts: object) -> None:
        provider.shutdown()

    signals.task_prerun.connect(begin, weak=False)
    signals.task_postrun.connect(end, weak=False)
    signals.worker_process_shutdown.connect(leave, weak=False)
