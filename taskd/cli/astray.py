"""Warnings of ``taskd --check --import`` of messages that reach a worker whose app does not know their task.

Such a worker parks them as dead letters.  Pure: what the apps have was told by their trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from taskd.base.plural import counted
from taskd.config.schema import Config
from taskd.protocol.trial import TrialFacts

#: This many names stand in one line.
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class _Sent:
    """One thing that sends a task to a queue: the words for it."""

    by: str
    task: str
    queue: str


def warnings(config: Config, known: Mapping[str, TrialFacts]) -> Iterator[str]:
    """Yield a line for each entry and each worker whose tasks may go astray.

    ``known``: the facts by worker, without those of apps that could not be imported.
    """
    for sent in _entries(config, known):
        for worker in _strangers(sent.task, sent.queue, config, known):
            yield (
                f'{sent.by}: the queue "{sent.queue}" is taken by worker.{worker}, whose app '
                f"{_app_of(worker, config)} does not have the task {sent.task}; "
                f"{_remedy(sent.task, config, known)}"
            )
    yield from _of_workers(config, known)


def _entries(config: Config, known: Mapping[str, TrialFacts]) -> Iterator[_Sent]:
    for name, entry in config.beat.schedule.items():
        yield _Sent(f"beat.schedule.{name}", entry.task, entry.queue)
    said = set()
    for worker, facts in known.items():
        for each in facts.entries:
            sent = _Sent(f'entry "{each.name}" of {_app_of(worker, config)}', each.task, each.queue)
            if sent not in said:
                said.add(sent)
                yield sent


def _of_workers(config: Config, known: Mapping[str, TrialFacts]) -> Iterator[str]:
    """Yield a line for each worker that takes messages of another one's app that its own does not know."""
    for stranger in known:
        lost: dict[tuple[str, str], list[str]] = {}
        for worker, facts in known.items():
            for task, queue in facts.tasks.items():
                if stranger in _strangers(task, queue, config, known):
                    lost.setdefault((_app_of(worker, config), queue), []).append(task)
        for (app, queue), tasks in lost.items():
            names = sorted(set(tasks))
            yield (
                f'worker.{stranger}: it takes from "{queue}", to which {app} sends '
                f"{counted(len(names), 'task')} that {_app_of(stranger, config)} does not have "
                f"({_some(names)}); they would become dead letters here: give each app queues of its own"
            )


def _strangers(task: str, queue: str, config: Config, known: Mapping[str, TrialFacts]) -> Sequence[str]:
    """Return the workers that take from a queue and do not know the task."""
    return [
        name
        for name, facts in known.items()
        if queue in config.workers[name].queues and task not in facts.tasks
    ]


def _remedy(task: str, config: Config, known: Mapping[str, TrialFacts]) -> str:
    owners = [name for name, facts in known.items() if task in facts.tasks]
    if not owners:
        return "no app of the file that could be imported has it: correct its name, or import its module"
    for queue in config.workers[owners[0]].queues:
        if not _strangers(task, queue, config, known):
            return f'worker.{owners[0]} has it: queue = "{queue}"'
    return f"worker.{owners[0]} has it: give that worker a queue of its own, and send the task there"


def _app_of(worker: str, config: Config) -> str:
    return config.workers[worker].app or config.app


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
