"""``taskctl beat list``, ``next`` and ``history``: what there is, what comes, and what was."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

import click

from taskd.base import clock, exit_codes
from taskd.beat.entries import Listed, keys_of
from taskd.beat.schedules.schedule import Schedule
from taskd.beat.schedules.words import in_words
from taskd.beat.stores.base import Decision
from taskd.beat.stores.factory import has_store
from taskd.cli.entries import View, look, opened
from taskd.cli.offers import complete_entries
from taskd.cli.output import age, echo_json, echo_table, json_option, local_time, printable
from taskd.cli.session import Session, duration, pass_session
from taskd.config.serving import unserved

_LIST = ("NAME", "FROM", "TASK", "SCHEDULE", "NEXT", "LAST", "LATE", "FIRED", "SKIPPED", "FAILED")
_NEXT = ("AT", "NAME", "TASK")
_HISTORY = ("DUE", "NAME", "OUTCOME", "LATE", "COUNT", "REASON", "ID")
#: A screenful.  ``--limit`` is the former name.
count_option = click.option(
    "--count",
    "--limit",
    "count",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Show at most this many.",
)


@click.command("list")
@json_option
@pass_session
def list_(session: Session, *, as_json: bool) -> int:
    """Show every entry: its origin, the entries of its name that it hides, its next run, its counters.

    Shows the entries of the file and of the store, whether beat runs or not. Below them stand the rows, keys
    and entries of apps that cannot fire, with the reason, as beat last read them. When the store cannot be
    read, it shows the file's entries, and the exit status is 69.

    Example: taskctl beat list
    """
    view = look(session.config)
    now = clock.now()
    found = list(view.schedules())
    if as_json:
        entries = [_as_json(listed, schedule, view, now) for listed, schedule in found]
        echo_json({"entries": entries, "problems": list(view.declared.problems)})
        return view.status
    if found or not view.status:  # a store that cannot be read may have entries
        echo_table(_LIST, [_row(listed, schedule, view, now) for listed, schedule in found], right=_LIST[6:])
    for listed, _ in found:
        if doubt := view.doubt(listed.entry.task):
            click.echo("\n" + printable(f"{listed.entry.name}: {doubt}"))
        if doubt := unserved(listed.entry.queue, session.config):
            click.echo("\n" + printable(f"{listed.entry.name}: {doubt}"))
    for problem in view.declared.problems:
        click.echo("\n" + printable(problem))
    return view.status


def _next_at(listed: Listed, schedule: Schedule, now: float) -> float:
    return math.inf if listed.is_paused else schedule.next_after(now)


def _row(listed: Listed, schedule: Schedule, view: View, now: float) -> tuple[object, ...]:
    entry = listed.entry
    mark = view.marks.get(entry.name)
    hides = _hides(listed, view)
    hidden = f" (hides {', '.join(hides)})" if hides else ""
    next_at = _next_at(listed, schedule, now)
    coming = "never" if next_at == math.inf else local_time(next_at)
    paused = f"paused by {listed.pause.by}" if listed.is_paused and listed.pause else ""
    ran = mark is not None and mark.last_due_at is not None
    return (
        entry.name,
        listed.source.value + hidden,
        entry.task,
        in_words(entry),
        paused or coming,
        local_time(mark.last_due_at) if ran and mark and mark.last_due_at is not None else "",
        age(mark.last_late_s) if ran and mark else "",
        *((mark.fired, mark.skipped, mark.failed) if mark else (0, 0, 0)),
    )


def _hides(listed: Listed, view: View) -> list[str]:
    """Return the sources whose entry of this name does not count; apps by their own names."""
    apps = view.declared.hidden.get(listed.entry.name, ())
    return [*(source.value for source in listed.shadows), *(f"app {app}" for app in apps)]


def _as_json(listed: Listed, schedule: Schedule, view: View, now: float) -> dict[str, object]:
    mark = view.marks.get(listed.entry.name)
    next_at = _next_at(listed, schedule, now)
    return {
        "name": listed.entry.name,
        "source": listed.source.value,
        "hides": _hides(listed, view),
        "entry": keys_of(listed.entry),
        "paused": listed.is_paused,
        "paused_by": listed.pause.by if listed.is_paused and listed.pause else "",
        "next_at": None if next_at == math.inf else next_at,
        "last_due_at": mark.last_due_at if mark else None,
        "last_late_s": mark.last_late_s if mark else None,
        "last_id": mark.task_id if mark else "",
        "fired": mark.fired if mark else 0,
        "skipped": mark.skipped if mark else 0,
        "failed": mark.failed if mark else 0,
        "warning": view.doubt(listed.entry.task),
    }


@click.command("next")
@click.argument("name", required=False, shell_complete=complete_entries)
@click.option("--for", "span_s", type=duration, default="24h", show_default=True, help="How far to look.")
@count_option
@json_option
@pass_session
def next_(session: Session, *, name: str | None, span_s: float, count: int, as_json: bool) -> int:
    """Show the coming runs in the order of time; paused entries have none.

    Example: taskctl beat next --for 24h --count 100
    """
    view = look(session.config)
    if name is not None:
        view.require(name)
    now = clock.now()
    chosen = [each for each in view.schedules() if name in {None, each[0].entry.name}]
    runs = list(_coming(chosen, now, now + span_s, count + 1))
    more = len(runs) > count
    if as_json:
        coming = [{"at": at, "name": each.entry.name, "task": each.entry.task} for at, each in runs[:count]]
        echo_json({"runs": coming, "more": more})
        return view.status
    rows = [(local_time(at), each.entry.name, each.entry.task) for at, each in runs[:count]]
    echo_table(_NEXT, rows)
    if more:
        click.echo(f"\nthere are more than {count}; --count shows more of them", err=True)
    return view.status


def _coming(
    chosen: list[tuple[Listed, Schedule]], now: float, end_at: float, limit: int
) -> Iterator[tuple[float, Listed]]:
    heap = [
        (at, number)
        for number, (listed, schedule) in enumerate(chosen)
        if (at := _next_at(listed, schedule, now)) <= end_at
    ]
    heapq.heapify(heap)
    while heap and limit > 0:
        at, number = heap[0]
        listed, schedule = chosen[number]
        yield at, listed
        limit -= 1
        following = schedule.next_after(at)
        if following <= end_at:
            heapq.heapreplace(heap, (following, number))
        else:
            heapq.heappop(heap)


@click.command()
@click.argument("name", required=False, shell_complete=complete_entries)
@count_option
@json_option
@pass_session
def history(session: Session, *, name: str | None, count: int, as_json: bool) -> int:
    """Show what became of past occurrences, the latest first.

    Each occurrence was sent, sent by a beat that died before it could note it, skipped with a reason, or
    failed. A stretch of skipped ones is one line with their number.

    Example: taskctl beat history nightly-report
    """
    decisions: list[Decision] = []
    if has_store(session.config):
        with opened(session.config) as store:
            decisions = list(store.history(name, count))
    if name is not None and not decisions:
        look(session.config).require(name)
    if as_json:
        echo_json({"decisions": [_decision_json(each) for each in decisions]})
    else:
        echo_table(_HISTORY, [_decision_row(each) for each in decisions], right=_HISTORY[3:5])
    return exit_codes.OK


def _decision_row(decision: Decision) -> tuple[object, ...]:
    count = str(decision.count) + ("" if decision.exact else "+")
    return (
        local_time(decision.due_at),
        decision.name,
        decision.outcome.value,
        age(decision.late_s),
        count,
        decision.reason,
        decision.task_id,
    )


def _decision_json(decision: Decision) -> dict[str, object]:
    return {
        "name": decision.name,
        "due_at": decision.due_at,
        "decided_at": decision.decided_at,
        "late_s": decision.late_s,
        "outcome": decision.outcome.value,
        "reason": decision.reason,
        "id": decision.task_id,
        "count": decision.count,
        "exact": decision.exact,
        "term": decision.term,
    }
