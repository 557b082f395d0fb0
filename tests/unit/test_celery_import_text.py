"""Whatever an app and its commands are called, the file that is written for them can be read."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from taskd.cli.importing.command_line import CeleryCommand
from taskd.cli.importing.file_text import secrets_text, text_of
from taskd.cli.importing.plan import CodePlace, plan_of
from taskd.cli.importing.sources import CeleryStart
from taskd.config.env_file import parse_env
from taskd.sending.celery_facts import CeleryEntry, CeleryFacts, CeleryQueue

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_OPTIONS = st.sampled_from(
    ["hostname", "queues", "concurrency", "pool", "autoscale", "loglevel", "uid", "frob"]
)


def facts(app: str, queue: str, entry: str) -> CeleryFacts:
    """Return the facts of an app with a password."""
    return CeleryFacts(
        app=app,
        celery_version="5.7",
        broker="redis://:s3cret@h/0",
        broker_shown="",
        results="redis://:s3cret@h/1",
        results_shown="redis",
        queues=[CeleryQueue(queue)],
        entries=[CeleryEntry(entry, entry, entry)],
    )


@given(app=_TEXTS, queue=_TEXTS, entry=_TEXTS, name=_TEXTS, options=st.dictionaries(_OPTIONS, _TEXTS))
def test_every_file_is_toml_without_a_secret(
    app: str, queue: str, entry: str, name: str, options: dict[str, str]
) -> None:
    start = CeleryStart(
        CeleryCommand("worker", options, name=name), directory=name, environment={"KEY": queue, "LANG": entry}
    )
    plan = plan_of(facts(app, queue, entry), [start, start], CodePlace("/srv"))

    text = text_of(plan, facts(app, queue, entry))

    document = tomllib.loads(text)
    assert document["app"] == app
    assert len(document["worker"]) == 2
    assert "s3cret" not in text
    assert plan.secrets["TASKD_BROKER_PASSWORD"] == "s3cret"


def test_the_file_of_variables_is_read_back() -> None:
    start = CeleryStart(CeleryCommand("worker"), environment={"API_KEY": 'a "b" $c #d', "LANG": "C"})
    plan = plan_of(facts("x", "q", "e"), [start], CodePlace("/srv"))

    assert parse_env(secrets_text(plan)) == {"TASKD_BROKER_PASSWORD": "s3cret", "API_KEY": 'a "b" $c #d'}
