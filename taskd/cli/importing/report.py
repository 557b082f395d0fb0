"""Say what an import changes, what is refused, and what a person must decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from taskd.base.plural import counted
from taskd.cli.importing.plan import ImportPlan
from taskd.sending.celery_facts import CeleryFacts


def lines_of(plan: ImportPlan, facts: CeleryFacts, secrets_path: str = "") -> Iterator[str]:
    """Yield the report for people; ``secrets_path`` is the file of variables that was written."""
    workers = [name for name in plan.tables if name.startswith("worker.")]
    tasks = counted(len(facts.tasks), "task")
    yield f"{facts.app}: Celery {facts.celery_version}, {tasks}, {counted(len(workers), 'worker')}"
    yield f"broker   {facts.broker_shown}"
    yield f"results  {facts.results_shown or 'none'}"
    if plan.secrets:
        yield f"secrets  {secrets_path or 'not written without --output'}: {', '.join(plan.secrets)}"
    else:
        yield "secrets  none, so no file of variables is written"
    for fate in dict.fromkeys(each.fate for each in facts.settings):
        named = [f"{each.name} = {each.shown}: {each.said}" for each in facts.settings if each.fate == fate]
        yield from _section(f"Settings: {fate or 'unknown'}", named)
    routes = [f"{name} -> {queue or 'decided in the app'}" for name, queue in facts.routes.items()]
    yield from _section("Routes", routes)
    yield from _section("Works otherwise", (str(each) for each in facts.findings if not each.is_refused))
    yield from _section("Refused", (str(each) for each in facts.findings if each.is_refused))
    yield from _section("Left out", plan.left_out)
    yield from _section("To decide", plan.decisions)


def _section(title: str, lines: Iterator[str] | list[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in found)


def document_of(plan: ImportPlan, facts: CeleryFacts, text: str) -> Mapping[str, object]:
    """Return the report for programs; no secret is in it."""
    return {
        "app": facts.app,
        "celery_version": facts.celery_version,
        "broker": facts.broker_shown,
        "results": facts.results_shown,
        "file": text,
        "settings": [
            {"name": each.name, "value": each.shown, "fate": each.fate, "said": each.said}
            for each in facts.settings
        ],
        "queues": [queue.name for queue in facts.queues],
        "routes": dict(facts.routes),
        "routed": dict(facts.routed),
        "tasks": [{"name": each.name, "options": dict(each.options)} for each in facts.tasks],
        "entries": [{"name": each.name, "task": each.task, "when": each.when} for each in facts.entries],
        "findings": [
            {"name": each.name, "said": each.said, "remedy": each.remedy, "refused": each.is_refused}
            for each in facts.findings
        ],
        "left_out": plan.left_out,
        "decisions": plan.decisions,
        "secrets": list(plan.secrets),
    }
