"""Whatever an app and its commands are called, the file that is written for them can be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.cli.importing.command_line import CeleryCommand
from taskd.cli.importing.file_text import secrets_text, text_of, unwritable
from taskd.cli.importing.plan import CodePlace, plan_of
from taskd.cli.importing.sources import CeleryStart
from taskd.config.env_file import parse_env
from taskd.config.load import check_bytes
from taskd.config.schema import Config
from taskd.sending.celery_facts import CeleryEntry, CeleryFacts, CeleryQueue

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
#: What an address and a variable can hold.
_PASSWORDS = st.text(
    st.characters(
        exclude_categories=["Cs", "Zs", "Zl", "Zp"],
        exclude_characters="\0@/?#[]%; \t\n\r\v\f\x1c\x1d\x1e\x1f\x85",
    ),
    min_size=1,
    max_size=12,
)
_VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
#: Quotes, ends of lines, and whatever else a shell, systemd or TOML reads as something.
_NASTY = """it's "a" \\ `b` $HOME ${HOME} $(id) \\$ \\\\' #c\n!d\té\u2028\x7f '' \"" """
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


def read_back(start: CeleryStart, found: CeleryFacts) -> Config:
    """Return the configuration of the file for a start, read with its own variables."""
    plan = plan_of(found, [start], CodePlace("/srv"))
    config, _ = check_bytes(text_of(plan, found).encode(), "taskd.toml", plan.secrets)
    assert config is not None
    return config


@given(password=_PASSWORDS, secret=_VALUES, plain=_VALUES)
def test_every_value_is_read_back_as_it_was(password: str, secret: str, plain: str) -> None:
    found = msgspec.structs.replace(facts("x", "q", "e"), broker=f"redis://:{password}@h/0")
    start = CeleryStart(CeleryCommand("worker"), environment={"API_KEY": secret, "LANG": plain})

    config = read_back(start, found)

    assert config.broker == found.broker
    assert config.workers["main"].environment == {"API_KEY": secret, "LANG": plain}


@pytest.mark.parametrize(
    "value", ["plain", "it's", 'a "b" $c #d', "back\\slash", "two\nlines", "é\u2028", _NASTY, f"{_NASTY}'"]
)
def test_a_shell_reads_the_file_of_variables_back(value: str, tmp_path: Path) -> None:
    start = CeleryStart(CeleryCommand("worker"), environment={"API_KEY": value})
    file = tmp_path / "t.env"
    file.write_text(secrets_text(plan_of(facts("x", "q", "e"), [start], CodePlace("/srv"))), newline="")

    show = "import json, os; print(json.dumps(dict(os.environ)))"
    line = f'set -a; . "$1"; exec "$2" -c "{show}"'
    done = subprocess.run(
        ["sh", "-c", line, "sh", str(file), sys.executable],
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )

    found = json.loads(done.stdout)
    assert (found["API_KEY"], found["TASKD_BROKER_PASSWORD"]) == (value, "s3cret")


def test_two_workers_keep_secrets_of_one_name_apart() -> None:
    starts = [CeleryStart(CeleryCommand("worker"), environment={"API_KEY": each}) for each in "abb"]
    plan = plan_of(facts("x", "q", "e"), starts, CodePlace("/srv"))

    config, problems = check_bytes(text_of(plan, facts("x", "q", "e")).encode(), "taskd.toml", plan.secrets)

    assert config is not None, problems
    assert [worker.environment["API_KEY"] for worker in config.workers.values()] == ["a", "b", "b"]
    assert len(plan.secrets) == 3


def test_a_value_that_no_variable_can_hold_is_named() -> None:
    start = CeleryStart(CeleryCommand("worker"), environment={"API_KEY": "a\0b", "TOKEN": "it's\n"})

    assert unwritable(plan_of(facts("x", "q", "e"), [start], CodePlace("/srv"))) == ["API_KEY"]


def test_the_file_of_variables_is_read_back() -> None:
    start = CeleryStart(CeleryCommand("worker"), environment={"API_KEY": 'a "b" $c #d', "LANG": "C"})
    plan = plan_of(facts("x", "q", "e"), [start], CodePlace("/srv"))

    assert parse_env(secrets_text(plan)) == {"TASKD_BROKER_PASSWORD": "s3cret", "API_KEY": 'a "b" $c #d'}
