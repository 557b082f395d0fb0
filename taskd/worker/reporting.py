"""Report: the step that speaks to the supervisor over the status descriptor."""

from __future__ import annotations

from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.program.bond import Reporter
from taskd.worker.foundations import Timer
from taskd.worker.signals import Hub


class Report(Step[Reporter]):
    """Joins the reporter to the loop."""

    name = "Report"
    requires = (Timer, Hub)

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def start(self, given: Given) -> Reporter:
        """Join the loop; when the supervisor is gone, end cold."""
        self._reporter.attach(given[Timer], on_gone=given[Hub].end_cold)
        return self._reporter

    def stop(self, deadline: Deadline) -> None:
        """Leave the loop; the program still has its last words."""
        self._reporter.detach()
