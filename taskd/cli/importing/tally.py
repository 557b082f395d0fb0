"""Count what a shadow run saw, and say what of it would have run.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from taskd.base.plural import counted
from taskd.cli.importing.plan import ImportPlan
from taskd.config.built_in import POOLS
from taskd.protocol.shadow import FAILING, Judgement, MessageFate

#: Names of tasks, reasons and senders come from messages: more of them count as one.
_MOST_NAMES = 1000
_MOST_REASONS = 200
_MOST_SENDERS = 20
_SHOWN_SENDERS = 5
_OTHERS = "(others)"

_WORDS: Mapping[MessageFate, str] = {
    MessageFate.RUN: "would run",
    MessageFate.WAIT: "would wait for the time of running",
    MessageFate.END: "would end without a run",
    MessageFate.REFUSE: "would be refused",
    MessageFate.UNKNOWN: "not known",
}
_TITLES: Mapping[MessageFate, str] = {
    MessageFate.END: "Would end without a run, as with Celery",
    MessageFate.REFUSE: "Would be refused, and kept as dead letters",
    MessageFate.UNKNOWN: "Not known, and kept as dead letters; Celery's worker drops them",
}


@dataclass(slots=True)
class Unrunnable:
    """Messages of one task that would not run, for one reason."""

    count: int = 0
    queues: set[str] = field(default_factory=set)
    senders: Counter[str] = field(default_factory=Counter)
    #: The id of one of them.
    example: str = ""

    def take(self, judgement: Judgement) -> None:
        """Count one more."""
        self.count += 1
        self.queues.add(judgement.queue)
        sender = judgement.sender or "unknown"
        is_one_more = sender not in self.senders and len(self.senders) >= _MOST_SENDERS
        self.senders[_OTHERS if is_one_more else sender] += 1
        self.example = self.example or judgement.task_id


@dataclass(slots=True)
class ShadowTally:
    """All that a shadow run has seen of these queues."""

    queues: Sequence[str]
    by_task: dict[str, Counter[MessageFate]] = field(default_factory=dict)
    by_queue: dict[str, Counter[MessageFate]] = field(default_factory=dict)
    troubles: dict[tuple[MessageFate, str, str], Unrunnable] = field(default_factory=dict)
    #: The queues in which the messages of a task lay.
    places: dict[str, set[str]] = field(default_factory=dict)
    #: Messages that were there and were not looked at, by queue.
    unseen: Mapping[str, int] = field(default_factory=dict)
    watched_s: float = 0.0
    #: Why the watch ended before its time.
    ended_by: str = ""
    #: It ended because something failed.
    is_cut_off: bool = False

    def take(self, judgement: Judgement) -> None:
        """Count one message."""
        task = judgement.task or "(no name)"
        if task not in self.by_task and len(self.by_task) >= _MOST_NAMES:
            task = _OTHERS
        self.by_task.setdefault(task, Counter())[judgement.fate] += 1
        self.by_queue.setdefault(judgement.queue, Counter())[judgement.fate] += 1
        self.places.setdefault(task, set()).add(judgement.queue)
        if judgement.fate in _TITLES:
            key = (judgement.fate, task, judgement.reason)
            if key not in self.troubles and len(self.troubles) >= _MOST_REASONS:
                key = (judgement.fate, _OTHERS, "for other reasons")
            self.troubles.setdefault(key, Unrunnable()).take(judgement)

    @property
    def seen(self) -> int:
        """How many messages were seen."""
        return sum(fates.total() for fates in self.by_task.values())

    @property
    def is_failing(self) -> bool:
        """Whether a message would have been refused or was not known, or not all could be seen."""
        return self.is_cut_off or any(fate in FAILING for fate, _, _ in self.troubles)


def worker_of(queue: str, plan: ImportPlan) -> str:
    """Return the worker of the file that takes from a queue, with its pool; empty for none."""
    for name, table in plan.tables.items():
        queues = table.keys.get("queues")
        if name.startswith("worker.") and isinstance(queues, list) and queue in queues:
            pool = table.keys.get("pool", next(iter(POOLS)))
            size = f" of {table.keys['concurrency']}" if "concurrency" in table.keys else ""
            return f"[{name}], {pool}{size}"
    return ""


def shadow_lines(tally: ShadowTally, plan: ImportPlan, options: Mapping[str, str]) -> Iterator[str]:
    """Yield the report for people; ``options`` are what counts for each task of the app."""
    yield ""
    early = f", ended early: {tally.ended_by}" if tally.ended_by else ""
    messages = counted(tally.seen, "message")
    queues = counted(len(tally.queues), "queue")
    yield f"Shadow run: {messages} seen in {queues} within {tally.watched_s:.0f} s{early}; none was taken"
    for queue in tally.queues:
        taker = worker_of(queue, plan) or "no worker of the file takes from it"
        yield f"  {queue}: {_counts(tally.by_queue.get(queue, Counter()))}; {taker}"
    running = [
        task for task, fates in tally.by_task.items() if fates[MessageFate.RUN] or fates[MessageFate.WAIT]
    ]
    if running:
        yield ""
        yield "Would run:"
    for task in sorted(running):
        places = ", ".join(sorted(tally.places[task]))
        yield f"  {task}: {_counts(tally.by_task[task])}; {options.get(task, '')}; queue {places}"
    for fate, title in _TITLES.items():
        found = [(key, trouble) for key, trouble in tally.troubles.items() if key[0] is fate]
        if found:
            yield ""
            yield f"{title}:"
        for (_, task, reason), trouble in sorted(found, key=lambda each: (-each[1].count, each[0][1:])):
            yield f"  {task}: {trouble.count} of {tally.by_task[task].total()}, {reason}; {_where(trouble)}"
    if tally.unseen:
        yield ""
        yield "Not looked at:"
    for queue, count in tally.unseen.items():
        yield f"  {queue or 'any of the queues'}: {counted(count, 'message')}"


def _counts(fates: Counter[MessageFate]) -> str:
    parts = [f"{fates[fate]} {words}" for fate, words in _WORDS.items() if fates[fate]]
    return ", ".join(parts) or "nothing seen"


def _where(trouble: Unrunnable) -> str:
    senders = [f"{name} ({count})" for name, count in trouble.senders.most_common(_SHOWN_SENDERS)]
    if len(trouble.senders) > _SHOWN_SENDERS:
        senders.append("others")
    example = f", such as {trouble.example}" if trouble.example else ""
    return f"queue {', '.join(sorted(trouble.queues))}, from {', '.join(senders)}{example}"


def shadow_document(tally: ShadowTally, plan: ImportPlan, options: Mapping[str, str]) -> Mapping[str, object]:
    """Return the report for programs."""
    return {
        "seen": tally.seen,
        "watched_s": round(tally.watched_s, 3),
        "ended_by": tally.ended_by,
        "queues": [
            {"name": queue, **_by_name(tally.by_queue.get(queue)), "worker": worker_of(queue, plan)}
            for queue in tally.queues
        ],
        "tasks": [
            {"name": task, **_by_name(fates), "options": options.get(task, "")}
            for task, fates in sorted(tally.by_task.items())
        ],
        "troubles": [
            {
                "fate": fate.value,
                "task": task,
                "reason": reason,
                "count": trouble.count,
                "queues": sorted(trouble.queues),
                "senders": dict(trouble.senders),
                "example": trouble.example,
            }
            for (fate, task, reason), trouble in tally.troubles.items()
        ],
        "not_looked_at": dict(tally.unseen),
    }


def _by_name(fates: Counter[MessageFate] | None) -> dict[str, int]:
    return {fate.value: (fates or Counter())[fate] for fate in MessageFate}
