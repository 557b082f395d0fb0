"""Files and command lines that start Celery are read as Celery, systemd and a shell read them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.cli.importing.command_line import MOST_NODES, CeleryCommand, CommandError, read_command
from taskd.cli.importing.multi import workers_of
from taskd.cli.importing.shell import expanded
from taskd.cli.importing.sources import CeleryStart, assignments, env_files_of, starts_in
from taskd.cli.importing.worker_options import keys_of_option

UNIT = r"""
[Unit]
Description=Celery
[Service]
Type=forking
User=celery
Group=workers
EnvironmentFile=-/etc/conf.d/celery
Environment="DJANGO_SETTINGS_MODULE=proj.settings" LANG=C
WorkingDirectory=/opt/celery
ExecStartPre=/bin/true celery worker
ExecStart=/bin/sh -c '${CELERY_BIN} -A $CELERY_APP multi start $CELERYD_NODES \
    --pidfile=${CELERYD_PID_FILE} --loglevel="${CELERYD_LOG_LEVEL}" $CELERYD_OPTS'
[Install]
WantedBy=celery -A no worker
"""
DEFAULTS = """
# Names of nodes
CELERYD_NODES="w1 w2 w3"
CELERY_BIN="/usr/local/bin/celery"
CELERY_APP="proj"
export CELERYD_LOG_LEVEL=INFO
CELERYD_OPTS="--time-limit=300 -c 8 -c:w2 4 -Q:1,3 slow,fast -Q hello"
CELERYD_USER=celery
"""


def only(starts: list[CeleryStart]) -> CeleryCommand:
    """Return the command of the single start."""
    [start] = starts
    return start.command


@pytest.mark.parametrize(
    ("line", "verb", "options"),
    [
        ("celery -A proj worker", "worker", {"app": "proj"}),
        (
            "celery --app=proj worker -l info -c4 -Q a,b --pool=gevent -E",
            "worker",
            {"app": "proj", "loglevel": "info", "concurrency": "4", "queues": "a,b", "pool": "gevent"}
            | {"task-events": ""},
        ),
        (
            "celery -A proj worker -B --events -n w@%h",
            "worker",
            {"app": "proj", "beat": "", "task-events": ""} | {"hostname": "w@%h"},
        ),
        ("cd /opt/celery && exec poetry run celery -A p beat", "beat", {"app": "p"}),
        ("/srv/env/bin/python -m celery -A p flower --port=5555", "flower", {"app": "p", "port": "5555"}),
        ("/bin/bash -lc 'celery -A p worker -c 2'", "worker", {"app": "p", "concurrency": "2"}),
        ("@/usr/bin/celery -A p worker", "worker", {"app": "p"}),
        ("celery -A p beat -S django", "beat", {"app": "p", "scheduler": "django"}),
        ("celery -A p beat --scheduler=x:Y -s f", "beat", {"app": "p", "scheduler": "x:Y", "schedule": "f"}),
        ("celery -A p worker -S state.db", "worker", {"app": "p", "statedb": "state.db"}),
    ],
)
def test_a_command_is_read(line: str, verb: str, options: Mapping[str, str]) -> None:
    command = read_command(line)

    assert command is not None
    assert (command.verb, command.options) == (verb, options)


@pytest.mark.parametrize("line", ["gunicorn proj", "ls /opt/celery", "celery", "celery --version", ""])
def test_a_line_that_starts_no_celery_is_nothing(line: str) -> None:
    assert read_command(line) is None


def test_variables_before_a_command_belong_to_it() -> None:
    command = read_command("DJANGO_SETTINGS_MODULE=proj.prod C_FORCE_ROOT=1 celery -A proj worker")

    assert command is not None
    assert command.environment == {"DJANGO_SETTINGS_MODULE": "proj.prod", "C_FORCE_ROOT": "1"}


def test_a_line_whose_quotes_do_not_match_says_so() -> None:
    with pytest.raises(CommandError, match="quotes"):
        read_command("celery -A 'proj worker")


def test_a_unit_is_read_with_the_file_of_variables_that_it_names() -> None:
    assert env_files_of(UNIT) == ["/etc/conf.d/celery"]

    starts = starts_in(UNIT, "/etc/systemd/system/celery.service", dict(assignments(DEFAULTS)))

    assert [start.command.given("hostname") for start in starts] == ["w1@%h", "w2@%h", "w3@%h"]
    assert [start.command.given("concurrency") for start in starts] == ["8", "4", "8"]
    assert [start.command.given("queues") for start in starts] == ["slow,fast", "hello", "slow,fast"]
    first = starts[0]
    assert (first.user, first.group, first.directory) == ("celery", "workers", "/opt/celery")
    assert first.environment == {"DJANGO_SETTINGS_MODULE": "proj.settings", "LANG": "C"}
    assert first.env_files == ("/etc/conf.d/celery",)
    assert first.command.given("loglevel") == "INFO"


def test_percent_signs_of_a_unit_are_those_of_a_node() -> None:
    unit = "[Service]\nExecStart=/usr/bin/celery -A proj worker -n mail@%%h -c 4\n"

    command = only(starts_in(unit, "mail.service"))

    assert (command.given("hostname"), command.name) == ("mail@%h", "mail")


def test_percent_signs_in_the_variables_of_a_unit_are_those_of_systemd() -> None:
    unit = (
        "[Service]\nUser=%i\nWorkingDirectory=/srv/a%%b\nEnvironmentFile=/etc/%n.env\n"
        'Environment="FORMAT=%%H:%%M" HOME=%h 100=x\nExecStart=/usr/bin/celery -A proj worker\n'
    )

    [start] = starts_in(unit, "mail.service")

    assert (start.environment, start.unread) == ({"FORMAT": "%H:%M"}, ("HOME",))
    assert (start.directory, start.user, start.env_files) == ("/srv/a%b", "", ())
    assert [each.split()[0] for each in start.not_read] == ["User=%i", "EnvironmentFile=/etc/%n.env"]


def test_files_that_a_script_reads_are_named_to_the_commands_below() -> None:
    first, second = starts_in("celery -A p beat\nset -a\n. /etc/p.env; set +a\ncelery -A p worker\n")

    assert first.not_read == ()
    [line] = second.not_read
    assert line.startswith("the app was imported without the variables of /etc/p.env; ")


def test_the_defaults_of_the_init_script_start_their_nodes() -> None:
    starts = starts_in(DEFAULTS, "/etc/default/celeryd")

    assert [start.command.name for start in starts] == ["w1", "w2", "w3"]
    assert {start.command.given("time-limit") for start in starts} == {"300"}
    assert {start.user for start in starts} == {"celery"}


def test_a_procfile_names_its_programs() -> None:
    text = "web: gunicorn proj\nworker: celery -A proj worker -c 4\nclock: celery -A proj beat # daily\n"

    assert [(each.command.name, each.command.verb) for each in starts_in(text)] == [
        ("worker", "worker"),
        ("clock", "beat"),
    ]


@pytest.mark.parametrize(
    ("above", "environment"),
    [
        ("export DJANGO_SETTINGS_MODULE=proj.prod", {"DJANGO_SETTINGS_MODULE": "proj.prod"}),
        ('export A=\'x y\' B="z\\"$C" # why', {"A": "x y", "B": 'z"c'}),
        ("  declare -x A=b", {"A": "b"}),
        ("A='b;c'\nexport A D=e; ulimit -n 9", {"A": "b;c", "D": "e"}),
        ("set -a\nA=b\nset +a\nD=e", {"A": "b"}),
        ("export A='pa$C'", {"A": "pa$C"}),
        ("A=b", {}),
    ],
)
def test_what_a_script_exports_belongs_to_the_commands_below(
    above: str, environment: Mapping[str, str]
) -> None:
    [start] = starts_in(f"#!/bin/sh\nC=c\n{above}\nexec celery -A proj worker -l info\nexport LATE=1\n")

    assert start.environment == environment


def test_an_export_and_a_command_may_share_a_line() -> None:
    [start] = starts_in("export A=b; celery -A proj worker --loglevel=info")

    assert start.environment == {"A": "b"}


def test_values_that_a_shell_makes_are_named_and_left_out() -> None:
    [start] = starts_in("export PATH=/srv/bin:$PATH A=$(date) B=`date` C=c\ncelery -A proj worker")

    assert (start.environment, start.unread) == ({"C": "c"}, ("PATH", "A", "B"))


def test_what_the_defaults_export_belongs_to_each_node() -> None:
    text = DEFAULTS + 'export DJANGO_SETTINGS_MODULE="proj.settings"\nCELERYBEAT_OPTS="--scheduler X"\n'

    *nodes, beat = starts_in(text, "/etc/default/celeryd")

    assert [start.environment for start in nodes] == [{"DJANGO_SETTINGS_MODULE": "proj.settings"}] * 3
    assert (beat.command.verb, beat.command.given("scheduler")) == ("beat", "X")


@pytest.mark.parametrize(
    ("line", "nodes"),
    [
        ("celery multi start 3 -A p", ["celery1@%h", "celery2@%h", "celery3@%h"]),
        ("celery multi start a b@x -A p -P threads", ["a@%h", "b@x"]),
        ("celery multi restart 2 --range-prefix=w", ["w1@%h", "w2@%h"]),
        ("celery multi stop a b", []),
        ("celery multi", []),
    ],
)
def test_multi_starts_a_worker_for_each_node(line: str, nodes: list[str]) -> None:
    command = read_command(line)
    found = workers_of(command) if command else []

    assert [each.given("hostname") for each in found] == nodes


def test_options_of_nodes_go_by_name_by_place_and_by_range() -> None:
    command = read_command("celery multi start 4 -A p -c 1 -c:1-2 5 -Q:celery4 slow --time-limit:3=9")
    assert command is not None

    found = workers_of(command)

    assert [each.given("concurrency") for each in found] == ["5", "5", "1", "1"]
    assert [each.given("queues") for each in found] == ["", "", "", "slow"]
    assert found[2].given("time-limit") == "9"


@pytest.mark.parametrize(
    "text",
    [
        f"celery multi start {MOST_NODES + 1} -A p",
        "celery multi start " + "n " * (MOST_NODES + 1),
        "celery " + "x " * 20_000,
        "celery -A p worker\n" * 2_000,
        "x" * (2 << 20),
    ],
)
def test_what_nobody_means_is_refused(text: str) -> None:
    with pytest.raises(CommandError):
        starts_in(text)


def test_variables_that_multiply_one_another_have_a_bound() -> None:
    lines = ["A0=" + "x" * 100]
    lines += [f'A{number}="{f"$A{number - 1}" * 50}"' for number in range(1, 9)]

    with pytest.raises(CommandError, match="too long"):
        dict(assignments("\n".join(lines)))
    assert expanded("$A ${B} $$ ${", {"A": "$B", "B": "b"}) == "$B b $$ ${"


_WORDS = st.sampled_from(
    (
        "celery",
        "multi",
        "start",
        "worker",
        "-A",
        "p",
        "-c",
        "-c:1",
        "4",
        "--",
        "-",
        "--x=",
        "'",
        '"',
        "a:",
        "\\",
        "[Service]",
        "ExecStart=",
        "$A",
        "${A}",
        "A=",
        "-n",
        "%%h",
        "sh",
        "1-3",
        "CELERYD_NODES=",
        "\n",
    )
)


@given(st.one_of(st.text(max_size=200), st.lists(_WORDS, max_size=30).map(" ".join)))
def test_no_text_breaks_a_reader(text: str) -> None:
    with suppress(CommandError):
        for start in starts_in(text, "x.service", {"A": "celery"}):
            assert start.command.verb


@pytest.mark.parametrize(
    ("option", "value", "keys"),
    [
        ("concurrency", "8", {"concurrency": 8}),
        ("concurrency", "auto", {}),
        ("pool", "processes", {"pool": "prefork"}),
        ("pool", "mine", {}),
        ("autoscale", "10,3", {"concurrency": 10, "min_concurrency": 3}),
        ("autoscale", "10,0", {"concurrency": 10, "min_concurrency": 1}),
        ("prefetch-multiplier", "1", {"prefetch": 0}),
        ("prefetch-multiplier", "4", {}),
        ("max-memory-per-child", "1000", {"max_memory_per_child": 1_024_000}),
        ("time-limit", "1.5", {"time_limit": 1.5}),
        ("time-limit", "9" * 400, {}),
        ("task-events", "", {"events": True}),
        ("frob", "1", {}),
    ],
)
def test_an_option_becomes_keys(option: str, value: str, keys: Mapping[str, object]) -> None:
    assert keys_of_option(option, value) == keys
