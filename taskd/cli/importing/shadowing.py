"""Watch the live queues of a Celery app for a while and have each message judged; nothing is taken."""

from __future__ import annotations

import select
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import click

from taskd.base import clock
from taskd.base.errors import BackendError
from taskd.base.urls import shown
from taskd.base.wakeup import Wakeup
from taskd.brokers.base import MessageWatch, Watching
from taskd.brokers.factory import connect
from taskd.cli.importing.judge import Judge
from taskd.cli.importing.plan import CodePlace, ImportPlan
from taskd.cli.importing.tally import ShadowTally, shadow_document, shadow_lines
from taskd.cli.output import Failure, printable
from taskd.config.schema import Config
from taskd.protocol.shadow import Sighting
from taskd.sending.celery_facts import CeleryFacts

#: They end a watch before its time.
_ENDING = (signal.SIGINT, signal.SIGTERM)
#: The longest wait between two looks: a wake-up may be lost.
_LOOK_S = 1.0


def queues_of(facts: CeleryFacts, plan: ImportPlan) -> Sequence[str]:
    """Return the queues that the app declares, routes to, or has a worker for."""
    declared = [queue.name for queue in facts.queues if not queue.is_broadcast]
    served: list[str] = []
    for name, table in plan.tables.items():
        queues = table.keys.get("queues")
        if name.startswith("worker.") and isinstance(queues, list):
            served += queues
    return list(dict.fromkeys([*served, *declared, *facts.routed]))


@contextmanager
def watching(config: Config, queues: Sequence[str]) -> Iterator[MessageWatch]:
    """Look at the queues of the file's broker during the block.  Raises: ``Failure`` where nobody can."""
    broker = connect(config.broker, config.stores)
    try:
        if not isinstance(broker, Watching):
            raise Failure(
                f"{shown(config.broker)}: a message of this broker cannot be seen without being taken; "
                "import without --shadow, and follow task events instead (celery worker -E, taskctl events)"
            )
        try:
            watch = broker.watch(queues)
        except BackendError as error:
            raise Failure(f"the queues cannot be watched: {error}") from error
        yield watch
    finally:
        broker.close()


@contextmanager
def _asked_to_end() -> Iterator[Wakeup]:
    """Yield what Ctrl-C and SIGTERM make readable; during the block they do nothing else."""
    asked = Wakeup()
    former = {number: signal.signal(number, lambda *_: asked.set()) for number in _ENDING}
    try:
        yield asked
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        asked.close()


class ShadowRun:
    """One watch with its judge and its count."""

    def __init__(self, watch: MessageWatch, judge: Judge, plan: ImportPlan, queues: Sequence[str]) -> None:
        self._watch = watch
        self._judge = judge
        self._plan = plan
        self.tally = ShadowTally(queues)

    def run(self, longest_s: float) -> None:
        """Count what is seen until the time is over or a signal comes; the tally says why it ended early."""
        tally = self.tally
        began = clock.monotonic()
        with _asked_to_end() as asked:
            said = f"watching {', '.join(tally.queues)} for {longest_s:g} s; Ctrl-C ends it with the report"
            click.echo(printable(said), err=True)
            try:
                self._follow(began + longest_s, asked)
                self._watch.catch_up()
                self._take()
            except (BackendError, Failure) as error:
                tally.ended_by = str(error)
                tally.is_cut_off = True
        tally.watched_s = clock.monotonic() - began
        tally.unseen = self._watch.unseen

    def _follow(self, until: float, asked: Wakeup) -> None:
        self._take()
        while (left_s := until - clock.monotonic()) > 0:
            descriptors = [self._watch.fileno(), asked.fileno()]
            if asked.fileno() in select.select(descriptors, [], [], min(left_s, _LOOK_S))[0]:
                self.tally.ended_by = "a signal"
                return
            self._take()

    def _take(self) -> None:
        now = clock.now()
        for judgement in self._judge.judged([Sighting(each, now) for each in self._watch.receive()]):
            self.tally.take(judgement)

    def lines(self) -> Iterator[str]:
        """Yield the report for people."""
        return shadow_lines(self.tally, self._plan, self._judge.tasks)

    def document(self) -> Mapping[str, object]:
        """Return the report for programs."""
        return {"shadow": shadow_document(self.tally, self._plan, self._judge.tasks)}


@contextmanager
def shadow_run(
    config: Config | None,
    facts: CeleryFacts,
    plan: ImportPlan,
    place: CodePlace,
    environment: Mapping[str, str],
) -> Iterator[ShadowRun]:
    """Open all that a shadow run needs.  Raises: ``Failure`` that names what hinders it."""
    if not facts.broker:
        raise Failure(f"taskd does not have the broker {facts.broker_shown}, so nothing of it can be watched")
    if config is None:
        raise Failure(
            "\n".join(["the file does not pass its check, so nothing is watched:", *plan.decisions])
        )
    queues = queues_of(facts, plan)
    judge = Judge(
        facts.app, directory=place.directory, interpreter=place.interpreter, environment=environment
    )
    with closing(judge), watching(config, queues) as watch:
        yield ShadowRun(watch, judge, plan, queues)
