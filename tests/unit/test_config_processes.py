"""The keys that all supervised processes have, other commands, and who waits for whom."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.base.errors import ConfigError
from taskd.config import transfer
from taskd.config.env_file import parse_env
from taskd.config.load import check_bytes
from taskd.config.schema import Config

HEAD = 'app = "a:b"\n'


def problems_of(text: str, *, machine: bool = False) -> list[str]:
    _, problems = check_bytes((HEAD + text).encode(), "/srv/t.toml", {}, machine=machine)
    return [
        str(problem).removeprefix("/srv/t.toml:")
        for problem in problems
        if "the file has no worker" not in str(problem)
    ]


def config_of(text: str) -> Config:
    config, problems = check_bytes((HEAD + text).encode(), "/srv/t.toml", {})
    assert config is not None, problems
    return config


def test_a_program_is_read_with_its_settings_and_survives_the_way_to_its_process() -> None:
    config = config_of(
        """
        [program.flower]
        command = ["bin/flower", "--port=5555"]
        user = "www-data"
        groups = ["adm"]
        umask = "027"
        env_file = "flower.env"
        limits = { nofile = [1024, 4096], core = 0, as = "1GiB", cpu = "1h", stack = "unlimited" }
        nice = 5
        cpu_affinity = "0-2,5"
        oom_score_adj = 300
        after = ["beat"]
        restart = "on-failure"
        on_failed = ["/bin/mail", "root"]
        [beat]
        nice = -1
        [beat.schedule.x]
        task = "t"
        every = 1
        """
    )

    flower = config.programs["flower"]
    assert flower.command == ("/srv/bin/flower", "--port=5555")
    assert (flower.umask, flower.nice, flower.oom_score_adj) == (0o027, 5, 300)
    assert flower.env_file == "/srv/flower.env"
    assert flower.cpu_affinity == (0, 1, 2, 5)
    assert flower.limits == {
        "nofile": (1024, 4096), "core": (0, 0), "as": (2**30, 2**30), "cpu": (3600, 3600), "stack": (-1, -1),
    }  # fmt: skip
    assert (flower.stop_timeout, flower.stop_signal, flower.ready_after) == (10.0, "TERM", 1.0)
    assert config.beat.nice == -1
    assert transfer.decode(transfer.encode(config)) == config


MISTAKES = [
    ("umask = 27", 'umask: 27 is not accepted; expected a text of three or four octal digits such as "027"'),
    ('umask = "029"', "umask: "),
    ("limits = 5", "limits: 5 is not accepted; expected a table of limits"),
    ("limits = { nofiles = 5 }", 'limits.nofiles: unknown key; did you mean "nofile"?'),
    ("limits = { nofile = -1 }", "limits.nofile: -1 is not accepted; expected a whole number from 0, "),
    ('limits = { nofile = "many" }', 'limits.nofile: "many" is not accepted'),
    ("limits = { nofile = true }", "limits.nofile: true is not accepted"),
    ("limits = { nofile = [9, 5] }", "limits.nofile: the soft limit is above the hard one"),
    ('limits = { nofile = ["unlimited", 5] }', "limits.nofile: the soft limit is above the hard one"),
    ("limits = { nofile = [1, 2, 3] }", "limits.nofile: a list of 3 is not accepted"),
    ('limits = { as = "1 parsec" }', 'limits.as: the unit "parsec" is unknown'),
    ('cpu_affinity = "0-"', 'cpu_affinity: "0-" is not accepted; expected processors as a list or a text'),
    ("cpu_affinity = [-1]", "a processor is outside 0 to 4095"),
    ('cpu_affinity = ["0"]', "cpu_affinity: a list is not accepted"),
    ("nice = 20", "nice: 20 is too large; expected -20 to 19"),
    ("oom_score_adj = -1001", "oom_score_adj: -1001 is too small"),
    ('restart = "sometimes"', "expected one of always, on-failure, never"),
    ('group = "x"', 'a group is given without a user; expected user = "NAME" beside it'),
    ('on_ready = [""]', "on_ready: the command is empty"),
    ('restart_delay_max = "1ms"', "the longest delay is shorter than the first; expected restart_delay_max"),
    (
        'after = ["fethc"]',
        'there is no worker or program "fethc" to wait for; expected one of fetch; did you',
    ),
    ('requires = ["beat"]', 'there is no worker or program "beat" to wait for'),
    (
        'after = ["mail"]',
        "mail: waits for itself: mail -> mail; expected after and requires that form no circle",
    ),
]


@pytest.mark.parametrize(("key", "expected"), MISTAKES)
def test_a_mistake_is_named_with_its_line_and_what_is_expected(key: str, expected: str) -> None:
    found = problems_of(f"[worker.fetch]\n[worker.mail]\n{key}\n")

    assert any(expected in problem for problem in found), found
    assert found[0].startswith(("3:", "4:")), found


def test_a_command_is_needed() -> None:
    assert "program.x.command: the key is missing" in problems_of("[program.x]\n")[0]
    assert "program.x.command: the command is empty" in problems_of("[program.x]\ncommand = []\n")[0]
    assert "program.x.command: the command is empty" in problems_of("[program.x]\ncommand = ['']\n")[0]


def test_programs_that_wait_for_one_another_are_refused_with_the_whole_circle() -> None:
    found = problems_of(
        """\
        [worker.a]
        after = ["b"]
        [program.b]
        command = ["x"]
        requires = ["c"]
        [program.c]
        command = ["x"]
        after = ["a"]
        """
    )

    assert len(found) == 1
    assert found[0].startswith("2: worker.a: waits for itself: a -> b -> c -> a; expected after and requires")


def test_a_long_chain_of_programs_is_no_circle() -> None:
    chain = "".join(
        f'[program.p{number}]\ncommand = ["x"]\nafter = ["p{number + 1}"]\n' for number in range(3000)
    )

    assert problems_of(chain + '[program.p3000]\ncommand = ["x"]\n') == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[worker.a]\n[program.a]\ncommand = ["x"]\n', 'program.a: the name "a" is taken by a worker'),
        (
            '[worker.a-1]\n[program.a]\ncommand = ["x"]\n',
            'worker.a-1: the name "a-1" is also the program name of a process of program "a"',
        ),
        ('[program.beat]\ncommand = ["x"]\n', 'the name "beat" is taken by the scheduler'),
    ],
)
def test_a_name_that_could_mean_two_things_is_refused(text: str, expected: str) -> None:
    assert expected in problems_of(text)[0]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (
            'user = "nobody-at-all"',
            'user: there is no user "nobody-at-all"; expected a user of this machine (user',
        ),
        ('user = "root"\ngroup = "nogroup-at-all"', 'group: there is no group "nogroup-at-all"; expected a'),
        ('user = "root"\ngroups = ["nogroup-at-all"]', 'groups: there is no group "nogroup-at-all"'),
        (
            'interpreter = "/no/python"',
            "interpreter: /no/python is not an executable file; expected the python of a",
        ),
        ('interpreter = "/etc/passwd"', "interpreter: /etc/passwd is not an executable file"),
        (
            'directory = "/no/dir"',
            "warning: worker.mail.directory: the directory /no/dir does not exist; expected",
        ),
        (
            'env_file = "/no/file"',
            "env_file: /no/file cannot be read (No such file or directory); expected a file",
        ),
        ('env_file = "/etc/passwd"', "env_file: /etc/passwd:1: the line is not NAME=value"),
        (
            "cpu_affinity = [4000]",
            "cpu_affinity: this machine has no processor 4000; expected numbers from 0 to",
        ),
        (
            'on_ready = ["/no/cmd"]',
            "on_ready: /no/cmd is not an executable file; expected the path of a command",
        ),
        (
            'on_ready = ["no-such-cmd"]',
            'on_ready: the command "no-such-cmd" is not found on PATH; expected an',
        ),
    ],
)
def test_what_this_machine_lacks_is_said_with_its_line_and_remedy(key: str, expected: str) -> None:
    text = f"[worker.mail]\n{key}\n"

    found = problems_of(text, machine=True)
    assert any(expected in problem for problem in found), found
    assert problems_of(text) == [], "only the machine that runs it is asked"


def test_a_command_of_a_program_is_looked_for_on_its_own_path() -> None:
    text = '[program.x]\ncommand = ["sh"]\n'

    assert problems_of(text, machine=True) == []
    assert "is not found on PATH" in problems_of(text + 'environment = { PATH = "/no" }\n', machine=True)[0]


def test_a_store_of_beat_without_its_directory_is_a_warning() -> None:
    text = 'broker = "redis://h"\n[supervisor]\nstate_directory = "/no/such"\n[beat]\n'

    found = problems_of(text + 'run = "always"\n', machine=True)
    assert any(
        "beat.store: beat remembers nothing: the directory /no/such does not exist" in x for x in found
    )
    assert problems_of(text, machine=True) == [], "beat does not run here"


def test_what_this_machine_has_is_no_problem() -> None:
    keys = f'user = "{os.geteuid()}"\ndirectory = "/"\ncpu_affinity = [0]\nlimits = {{ core = 0 }}\n'

    assert problems_of(f"[worker.mail]\n{keys}", machine=True) == []


def test_a_file_of_variables_is_read_as_it_stands() -> None:
    text = "# a comment\n; another\n\n A = 1 \nB='x y'\nC=\"z\"\nD=a=b\nE=\nF='\n"

    assert parse_env(text) == {"A": "1", "B": "x y", "C": "z", "D": "a=b", "E": "", "F": "'"}


@pytest.mark.parametrize("line", ["novalue", "=x", "A B=1", "1A=1", "export A=1"])
def test_a_line_that_is_no_variable_is_named_by_its_number_but_not_shown(line: str) -> None:
    with pytest.raises(ConfigError, match=r"^2: the line is not NAME=value$"):
        parse_env(f"OK=1\n{line}\n")


@given(st.text(max_size=200))
def test_any_text_is_variables_or_an_error(text: str) -> None:
    try:
        found = parse_env(text)
    except ConfigError:
        return
    assert not any("\0" in name + value for name, value in found.items())


# -- libraries -----------------------------------------------------------------------------------


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be installed."""
    monkeypatch.setattr("sys.path", [])


@pytest.mark.usefixtures("without_libraries")
def test_a_library_that_is_not_installed_is_named_with_its_extra() -> None:
    text = '[worker.a]\napp = "a:b"\npool = "gevent"\n'

    assert problems_of(text, machine=True)[-1].endswith(
        'worker.a.pool: gevent is not installed; expected pip install "taskd[gevent]"'
    )
    assert problems_of(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('results = "redis://h/0"', 'results: hiredis is not installed; expected pip install "taskd[redis]"'),
        ('[beat]\nstore = "redis://h/0"', "beat.store: hiredis is not installed"),
        ('broker = "kombu+mongodb://h/x"', 'broker: pymongo is not installed; expected pip install "kombu['),
    ],
)
def test_every_store_names_what_it_needs_and_this_python_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "redis.py").touch()
    monkeypatch.setattr("sys.path", [str(tmp_path)])

    problems = problems_of(f'{text}\n[worker.a]\napp = "a:b"\n', machine=True)

    assert any(expected in each for each in problems), problems


@pytest.mark.usefixtures("without_libraries")
def test_an_interpreter_of_its_own_may_have_other_libraries() -> None:
    text = f'[worker.a]\napp = "a:b"\npool = "gevent"\ninterpreter = "{sys.executable}"\n'

    assert problems_of(text, machine=True) == []


def test_stores_in_memory_are_warned_about_where_they_are_run() -> None:
    text = 'broker = "memory://"\n[worker.a]\napp = "a:b"\n'
    _, problems = check_bytes(text.encode(), "/srv/t.toml", {}, machine=True)

    assert str(problems[0]).startswith(
        "/srv/t.toml:1: warning: broker: one process cannot reach the memory of another"
    )
    assert check_bytes(text.encode(), "/srv/t.toml", {}, machine=False)[1] == []


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ('[worker.a]\nnode = "celery@%h"', ""),
        ('[worker.a]\nnode = "celery"', '"celery" is not the name of a node'),
        ('[worker.a]\nnode = "a b@%h"', "is not the name of a node"),
        ('[worker.a]\nnode = "celery@%i"', "is not the name of a node"),
        ('[worker.a]\nnode = "celery@%h"\nprocesses = 2', "2 processes cannot share a name"),
        ('[worker.a]\nnode = "x@%h"\n[worker.b]\nnode = "x@%h"', 'another worker is called "x@%h", too'),
    ],
)
def test_a_node_is_the_name_of_one_process(tables: str, problem: str) -> None:
    found = problems_of(tables)

    assert any(problem in each for each in found) if problem else found == []
