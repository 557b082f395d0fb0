"""A Celery app that Sentry and OpenTelemetry watch, set up as their pages say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentry_sdk
from celery import Celery, signals
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

sentry_sdk.init(dsn=os.environ["TEST_DSN"])
app = Celery("observed", broker=os.environ["TEST_BROKER"], backend=os.environ["TEST_BROKER"])


class FileExporter(SpanExporter):
    """Writes the name of each span into a file."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with Path(os.environ["TEST_NOTES"]).open("a") as file:
            file.writelines(f"{span.name}\n" for span in spans)
        return SpanExportResult.SUCCESS


@signals.worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
def watch(**_facts: object) -> None:
    """Trace in each process: the thread of the processor does not live through a fork."""
    provider = TracerProvider()
    # It would send by itself only after this time, when the child has long gone.
    provider.add_span_processor(BatchSpanProcessor(FileExporter(), schedule_delay_millis=600_000))
    trace.set_tracer_provider(provider)


@app.task(bind=True)  # type: ignore[untyped-decorator]
def fail(self: Any) -> None:
    for number in range(20):
        sentry_sdk.capture_message(f"step {number}")
    with trace.get_tracer("observed").start_as_current_span(self.request.id):
        raise ValueError("seen by all")
