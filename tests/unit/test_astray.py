"""The check warns of messages that reach a worker whose app does not know their task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from taskd.cli.astray import warnings
from taskd.config.programs import WorkerConfig
from taskd.config.schedule import BeatConfig, BeatEntryConfig
from taskd.config.schema import Config
from taskd.protocol.trial import PeriodicTask, TrialFacts, line_of, taken_from


def config(queues: Mapping[str, Sequence[str]], *entries: BeatEntryConfig) -> Config:
    workers = {
        name: WorkerConfig(name=name, app=f"{name}:app", queues=tuple(each)) for name, each in queues.items()
    }
    return Config(workers=workers, beat=BeatConfig(schedule={each.name: each for each in entries}))


def nightly(queue: str = "default", task: str = "shop.report") -> BeatEntryConfig:
    return BeatEntryConfig(name="nightly", task=task, queue=queue, every=60.0)


SHOP = TrialFacts({"shop.report": "shop"})
BLOG = TrialFacts({"blog.render": "default"})


def test_an_entry_whose_queue_another_app_takes_is_named_with_a_queue_that_is_right() -> None:
    file = config({"shop": ["default", "shop"], "blog": ["default"]}, nightly())

    assert list(warnings(file, {"shop": SHOP, "blog": BLOG})) == [
        (
            'beat.schedule.nightly: the queue "default" is taken by worker.blog, whose app blog:app does not '
            'have the task shop.report; worker.shop has it: queue = "shop"'
        ),
        (
            'worker.shop: it takes from "default", to which blog:app sends 1 task that shop:app does not '
            "have (blog.render); they would become dead letters here: give each app queues of its own"
        ),
    ]


def test_where_both_take_from_the_same_queues_the_remedy_is_one_more_queue() -> None:
    file = config({"shop": ["default"], "blog": ["default"]}, nightly())

    (said,) = warnings(file, {"shop": SHOP, "blog": TrialFacts()})

    assert said.endswith("; worker.shop has it: give that worker a queue of its own, and send the task there")


def test_a_task_that_no_app_has_is_named_so() -> None:
    (said,) = warnings(config({"shop": ["default"]}, nightly(task="shop.reprot")), {"shop": SHOP})

    assert said.endswith(
        "no app of the file that could be imported has it: correct its name, or import its module"
    )


def test_an_entry_of_the_code_is_named_once_though_two_workers_have_the_app() -> None:
    facts = TrialFacts({"shop.report": "shop"}, [PeriodicTask("daily", "shop.report", "low")])
    two = {name: WorkerConfig(name=name, app="shop:app", queues=("shop",)) for name in ("one", "two")}
    blog = WorkerConfig(name="blog", app="blog:app", queues=("low",))

    said = list(
        warnings(Config(workers={**two, "blog": blog}), {"one": facts, "two": facts, "blog": TrialFacts()})
    )

    (line,) = said
    assert line == (
        'entry "daily" of shop:app: the queue "low" is taken by worker.blog, whose app blog:app does not '
        'have the task shop.report; worker.one has it: queue = "shop"'
    )


@pytest.mark.parametrize(
    ("queues", "known"),
    [
        ({"shop": ["default", "shop"]}, {"shop": SHOP}),
        (
            {"shop": ["default"], "blog": ["blog"]},
            {"shop": SHOP, "blog": TrialFacts({"blog.render": "blog"})},
        ),
        # Nothing is known of an app that could not be imported.
        ({"shop": ["default"], "blog": ["default"]}, {"shop": SHOP}),
        # Two apps that share a queue for tasks which both have.
        ({"shop": ["default"], "blog": ["default"]}, {"shop": SHOP, "blog": SHOP}),
    ],
)
def test_nothing_is_said_where_each_task_is_known(
    queues: Mapping[str, Sequence[str]], known: Mapping[str, TrialFacts]
) -> None:
    assert list(warnings(config(queues, nightly()), known)) == []


def test_the_facts_come_through_what_the_app_prints() -> None:
    output = "loading\nshop has 1 task\n" + line_of(SHOP) + "bye\n"

    told = TrialFacts(SHOP.tasks, [])
    assert taken_from(output) == ("loading\nshop has 1 task\nbye\n", told)
    assert taken_from("no word\n") == ("no word\n", None)
    cut = output.replace("shop.report", '"')
    assert taken_from(cut)[1] is None
