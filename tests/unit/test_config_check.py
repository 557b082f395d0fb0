"""Every mistake in a configuration file has its line, its key, what was expected, and the nearest name."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.config import transfer
from taskd.config.load import check_bytes
from taskd.config.problems import Problem, ProblemSeverity
from taskd.config.schema import Config
from taskd.config.where import find, found_here

PATH = "/srv/app/taskd.toml"
WORKER = '[worker.mail]\napp = "shop:app"\n'


def problems_of(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    config, problems = check_bytes(textwrap.dedent(text).encode(), PATH, environ or {})
    assert (config is None) == any(problem.severity is ProblemSeverity.ERROR for problem in problems)
    return [str(problem).removeprefix(PATH + ":") for problem in problems]


def config_of(text: str, environ: Mapping[str, str] | None = None) -> Config:
    config, problems = check_bytes(textwrap.dedent(text).encode(), PATH, environ or {})
    assert config is not None, problems
    return config


def test_a_small_file_is_read_with_its_defaults() -> None:
    config = config_of(
        """
        app = "shop.tasks:app"
        [supervisor]
        stop_timeout = "90s"
        [worker.mail]
        queues = ["mail"]
        concurrency = 4
        environment = { LANG = "C.UTF-8" }
        [beat.schedule.nightly]
        task = "shop.report"
        cron = "0 3 * * *"
        timezone = "Europe/Berlin"
        kwargs = { copies = 2, to = ["a", "b"] }
        """
    )

    assert config.path == PATH
    assert config.supervisor.stop_timeout == 90.0
    assert config.supervisor.control_socket == "/run/taskd/taskd.sock"
    assert config.workers["mail"].name == "mail"
    assert config.workers["mail"].queues == ("mail",)
    assert config.workers["mail"].environment == {"LANG": "C.UTF-8"}
    assert config.beat.schedule["nightly"].kwargs == {"copies": 2, "to": ["a", "b"]}
    assert transfer.decode(transfer.encode(config)) == config


MISTAKES = [
    ('aap = "x:y"', '1: aap: unknown key; did you mean "app"?'),
    (
        "[worker.mail]\napp='a:b'\nconcurency = 2",
        'worker.mail.concurency: unknown key; did you mean "concurrency"?',
    ),
    ("zzz = 1", "zzz: unknown key; expected one of app, broker, results"),
    ("[supervisr]", 'supervisr: unknown key; did you mean "supervisor"?'),
    ("[beat]\nschedul = {}", 'beat.schedul: unknown key; did you mean "schedule"?'),
    ("supervisor = 1", "supervisor: 1 is not accepted; expected a table [supervisor]"),
    ("worker = []", "worker: a list is not accepted; expected a table [worker]"),
    ("[worker]\nconcurrency = 4", "worker.concurrency: 4 is not accepted; expected a table [worker.NAME]"),
    ("app = 1", "app: 1 is not accepted; expected a text in quotes"),
    ('app = "shop tasks"', 'app: the text is not the name of an object; expected "package.module:attribute"'),
    ('app = "shop:app:x"', "is not the name of an object"),
    ('app = "a\\u0000b"', "a NUL character is in the text"),
    (
        '[supervisor]\nstop_timeout = "5x"',
        'supervisor.stop_timeout: the unit "x" is unknown; expected a duration',
    ),
    (
        "[supervisor]\nstop_timeout = true",
        "supervisor.stop_timeout: true cannot be read; expected a duration",
    ),
    (
        "[supervisor]\nstop_timeout = [1]",
        "supervisor.stop_timeout: a list is not accepted; expected a duration",
    ),
    ("[supervisor]\nstop_timeout = nan", "supervisor.stop_timeout: nan is not possible"),
    ('[supervisor]\nrestart_period = "10ms"', '"10ms" is too small; expected at least 1 second'),
    ("[supervisor]\nrestart_intensity = 0", "restart_intensity: 0 is too small; expected at least 1"),
    (
        "[supervisor]\nrestart_intensity = 1.5",
        "restart_intensity: 1.5 is not accepted; expected a whole number",
    ),
    (
        "[supervisor]\nrestart_intensity = true",
        "restart_intensity: true is not accepted; expected a whole number",
    ),
    (
        '[supervisor]\ncontrol_socket = ""',
        "control_socket: the path is empty; expected the path of a Unix socket",
    ),
    (
        f'[supervisor]\ncontrol_socket = "{"x" * 100}"',
        "the absolute path has 109 bytes; expected at most 107",
    ),
    (
        '[supervisor]\nheartbeat_timeout = "20s"',
        "heartbeat_timeout: idle programs report every 15 s, so taskd would take them for hung; expected 0",
    ),
    (
        '[supervisor]\nrestart_delay_max = "10ms"',
        "restart_delay_max: the longest delay is shorter than the first",
    ),
    (
        '[log]\nlevel = "warn"',
        'log.level: "warn" is not accepted; expected one of debug, info, warning, error; ',
    ),
    ('[log]\nlevel = "inof"', 'did you mean "info"?'),
    (
        '[sqlite]\ndurability = "ful"',
        'sqlite.durability: "ful" is not accepted; expected one of normal, full',
    ),
    ("[worker.mail]\napp='a:b'\nconcurrency = 20000", "20000 is too large; expected 0 to 10000"),
    (
        "[worker.mail]\napp='a:b'\nqueues = 'mail'",
        'queues: "mail" is not accepted; expected a list of texts such as',
    ),
    ('accept_content = ["json", "yml"]', 'accept_content: "yml" is not accepted; expected one of json'),
    ("[worker.mail]\napp='a:b'\nqueues = [1]", "queues: a list is not accepted; expected a list of texts"),
    ("[worker.mail]\napp='a:b'\nqueues = []", "queues: a queue name is missing"),
    ("[worker.mail]\napp='a:b'\nqueues = ['']", "queues: a queue name is missing"),
    (
        "[worker.mail]\napp='a:b'\nrate_limits = { 'shop.send' = '10/min' }",
        (
            'rate_limits.shop.send: "10/min" is not a rate; expected tasks per second, minute or hour: '
            "10/s, 10/m, 10/h, 0 for none"
        ),
    ),
    ("[worker.mail]\napp='a:b'\nrate_limits.shop.send = true", "rate_limits.shop.send: true is not a rate"),
    ("[worker.mail]\napp='a:b'\nrate_limits = '10/m'", "rate_limits: "),
    (
        "[worker.mail]\napp='a:b'\nprefetch = 'many'",
        'prefetch: "many" is not accepted; expected "auto" or a whole',
    ),
    ("[worker.mail]\napp='a:b'\nprefetch = -1", "prefetch: -1 is not accepted"),
    (
        "[worker.mail]\napp='a:b'\nenvironment = 1",
        "environment: 1 is not accepted; expected a table of texts",
    ),
    ("[worker.mail]\napp='a:b'\nenvironment = { A = 1 }", "worker.mail.environment.A: 1 is not accepted"),
    ("[worker.mail]\napp='a:b'\npool = 'gevnt'", "worker.mail.pool"),
    ("[worker.mail]", "worker.mail: there is no app, neither here nor at the top"),
    (
        "[worker.mail]\napp='a:b'\ntime_limit = 5\nsoft_time_limit = 5",
        "the soft limit would never be reached",
    ),
    (
        "[worker.'a.b']\napp='a:b'",
        'the name "a.b" is not accepted; expected a name of letters, digits, - and _',
    ),
    ("[worker.'']\napp='a:b'", 'the name "" is not accepted'),
    ("[worker.-x]\napp='a:b'", 'the name "-x" is not accepted'),
    ("[worker.beat]\napp='a:b'", 'the name "beat" is taken by the scheduler'),
    (
        "[beat.schedule.x]\nevery = '1s'",
        "beat.schedule.x.task: the key is missing; expected text: Name of the task",
    ),
    ("[beat.schedule.x]\ntask = ''\nevery = 1", "beat.schedule.x.task: the task name is empty"),
    (
        "[beat.schedule.x]\ntask='t'",
        "beat.schedule.x: the entry has none of every, cron, at and solar; expected exactly one",
    ),
    (
        "[beat.schedule.x]\ntask='t'\nevery=1\ncron='* * * * *'",
        "beat.schedule.x: every and cron are given; expected exactly one",
    ),
    (
        "[beat.schedule.x]\ntask='t'\nevery=0",
        "beat.schedule.x.every: 0 is too small; expected at least 0.01 seconds",
    ),
    (
        "[beat.schedule.x]\ntask='t'\ncron='* * * *'",
        '"* * * *", column 8: 4 fields are given; expected five fields',
    ),
    (
        "[beat.schedule.x]\ntask='t'\ncron='* * * * * *'",
        '"* * * * * *", column 11: 6 fields are given; expected five fields',
    ),
    (
        "[beat.schedule.x]\ntask='t'\ncron='61 * * * *'",
        '"61 * * * *", column 1: minute 61 is out of range; expected 0 to 59',
    ),
    (
        "[beat.schedule.x]\ntask='t'\ncron='0 0 31 2 *'",
        "column 5: no month of FEB has a day 31; expected a day",
    ),
    ("[beat.schedule.x]\ntask='t'\ncron='0 0 * * MOM'", 'weekday "MOM" is unknown; expected 0 to 7 or SUN'),
    ("[beat.schedule.x]\ntask='t'\ncron='@dayly'", 'column 1: the nickname "@dayly" is unknown'),
    ("[beat.schedule.x]\ntask='t'\nat='soon'", '"soon" is not accepted; expected a moment such as'),
    ("[beat.schedule.x]\ntask='t'\nat=2027-01-01\nend=2028-01-01", "end: an entry with at runs once"),
    ("[beat.schedule.x]\ntask='t'\nsolar='sunset'\nlatitude=1", "longitude: solar needs the longitude"),
    ("[beat.schedule.x]\ntask='t'\nsolar='sunst'", 'did you mean "sunset"?'),
    ("[beat.schedule.x]\ntask='t'\nevery=1\nlatitude=1", "latitude: the key does nothing without solar"),
    ("[beat.schedule.x]\ntask='t'\nevery=1\nmax_runs=2", "max_runs: there is no start to count from"),
    ("[beat.schedule.x]\ntask='t'\nevery=1\njitter=2", "jitter: runs would overtake each other"),
    (
        "[beat.schedule.x]\ntask='t'\nevery=1\ndst_gap='skip'",
        "dst_gap: the schedule does not follow a local time",
    ),
    ("[beat.schedule.x]\ntask='t'\nevery=1\ndst_overlap='both'", "dst_overlap: the schedule does not follow"),
    ("[beat.schedule.x]\ntask='t'\ncron='@daily'\nalign=2027-01-01", "align: only intervals are aligned"),
    (
        "[beat.schedule.x]\ntask='t'\nevery=1\nstart=2027-01-01\nend=2026-01-01",
        "end: the end lies before the start; expected a moment after 2027-01-01T00:00:00",
    ),
    ("[beat.schedule.x]\ntask='t'\ncron=5", "beat.schedule.x.cron: 5 is not accepted; expected five fields"),
    ("[beat.schedule.x]\ntask='t'\nevery=1\ntimezone='Europe/Berln'", 'did you mean "Europe/Berlin"?'),
    ("[beat.schedule.x]\ntask='t'\nevery=1\ntimezone='../../etc/passwd'", "is not a known time zone"),
    ("[beat.schedule.x]\ntask='t'\nevery=1\ntimezone='America'", "is not a known time zone"),
    ("[beat.schedule.x]\ntask='t'\nevery=1\npriority=10", "priority: 10 is too large; expected 0 to 9"),
    ("[beat.schedule.x]\ntask='t'\nevery=1\nqueue=''", "beat.schedule.x.queue: the queue name is empty"),
    (
        "[beat.schedule.x]\ntask='t'\nevery=1\nargs=[2020-01-01]",
        "args: date 2020-01-01 cannot be sent as JSON",
    ),
    ("[beat.schedule.x]\ntask='t'\nevery=1\nkwargs={a=[inf]}", "kwargs: inf cannot be sent as JSON"),
    ("[beat.schedule.x]\ntask='t'\nevery=1\nargs='a'", 'args: "a" is not accepted; expected a list'),
    (
        'broker = "x.db"',
        "broker: the value is not a URL; expected a URL with one of the schemes sqlite://, memory://",
    ),
    ('beat.store = "/srv/x/beat.db"', "a path is not a URL; expected a URL, such as sqlite:///srv/x/beat.db"),
    ('broker = "sqlit://x"', 'the scheme "sqlit" is not accepted; '),
    ('broker = "null://"', 'the scheme "null" is not accepted'),
    ('broker = "sqlite://"', "the path is missing; expected sqlite:///absolute/path.db"),
    (
        'broker = "amqp://h"\nresults = "rpc://"\nfailures.keep = "1d"',
        "failures: RabbitMQ cannot keep the messages of tasks that failed; expected a broker redis:// or",
    ),
    ("failures.max = 0", "failures.max: 0 is too small; expected at least 1"),
    ('broker = "redis://h"\nresults = "rpc://"', "results travel as messages only over RabbitMQ"),
    ("broker = 5", "broker: the value is not accepted; expected a URL"),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_a_mistake_is_named_with_what_is_expected(text: str, expected: str) -> None:
    assert any(expected in problem for problem in problems_of(text)), problems_of(text)


def test_all_problems_are_reported_in_the_order_of_the_file() -> None:
    problems = problems_of(
        """\
        ap = "x:y"

        [worker.mail]
        concurrency = "4"
        pool = "forks"

        [beat.schedule.x]
        cron = "99 * * * *"
        """
    )

    assert [problem.partition(":")[0] for problem in problems] == ["1", "3", "4", "5", "7", "8"]


def test_one_mistake_is_reported_once() -> None:
    assert len(problems_of("[beat.schedule.x]\ncron='* *'\ntask='t'\n" + WORKER)) == 1
    assert len(problems_of("app = 1\n[worker.mail]\n")) == 1


def test_a_file_without_workers_is_only_warned_about() -> None:
    config, problems = check_bytes(b"", PATH, {})

    assert config is not None
    assert [problem.severity for problem in problems] == [ProblemSeverity.WARNING]
    assert str(problems[0]).startswith(f"{PATH}: warning: the file has no worker")


def test_queues_listed_twice_are_only_warned_about() -> None:
    problems = problems_of("[worker.mail]\napp='a:b'\nqueues=['a','a']")

    assert problems == [
        '3: warning: worker.mail.queues: listed more than once: "a"; expected each queue once'
    ]


def test_errors_stand_before_warnings() -> None:
    problems = problems_of("[worker.mail]\nqueues=['a','a']\napp=1\n")

    assert [": warning: " in problem for problem in problems] == [False, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a = ", f"{PATH}:1: not TOML at "),
        (b"ok = 1\n[worker\n", f"{PATH}:2: not TOML at column "),
        (b"\n\nx = 1\nx = 2\n", f"{PATH}:4: not TOML at "),
        (
            b"x = 1\nx = 2\n",
            f"{PATH}:2: not TOML at column 6: the key stands twice in its table, first on line 1",
        ),
        (b"[a.b]\n[a.b]\n", f"{PATH}:2: not TOML at column 5: the table stands twice, first on line 1"),
        (
            b"pool = prefork\n",
            f"{PATH}:1: not TOML at column 8: the value cannot be read; a text needs quotes",
        ),
        (b'\n\ns = """never closed\n\n', f"{PATH}:"),
        (b"a = 1\nb = '\xff'\n", f"{PATH}:2: the byte 0xff is not UTF-8; expected text in UTF-8"),
        (b"x = " + b"[" * 100_000, f"{PATH}:1: not TOML"),
    ],
)
def test_what_is_not_toml_is_reported_with_its_line(text: bytes, expected: str) -> None:
    config, problems = check_bytes(text, PATH, {})

    assert config is None
    assert str(problems[0]).startswith(expected), str(problems[0])
    assert len(problems) == 1


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert check_bytes(b"\xef\xbb\xbf" + WORKER.encode(), PATH, {})[0] is not None


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_file_is_judged_and_each_problem_is_one_line(data: bytes) -> None:
    config, problems = check_bytes(data, PATH, {})

    assert config is not None or problems
    assert all(str(problem).splitlines() == [str(problem)] for problem in problems)


def test_a_variable_of_the_environment_is_put_in() -> None:
    config = config_of(
        '[worker.mail]\napp="shop:app"\nqueues=["${Q}-1"]\nenvironment={ A="$${Q}" , B="x${Q}y" }\n'
        'directory = "/${Q}"\n',
        {"Q": "mail"},
    )

    worker = config.workers["mail"]
    assert worker.queues == ("mail-1",)
    assert worker.environment == {"A": "${Q}", "B": "xmaily"}
    assert worker.directory == "/mail"


def test_an_undefined_variable_is_named() -> None:
    assert problems_of('broker = "sqlite://${DB}"\n' + WORKER) == [
        "1: broker: the environment variable DB is not defined; expected DB in the daemon's environment"
    ]
    assert "does not name a variable" in problems_of(WORKER + 'directory = "${}"')[0]


def test_arguments_of_beat_entries_are_sent_as_they_stand() -> None:
    config = config_of("[beat.schedule.x]\ntask='t'\nevery=1\nargs=['${HOME}']\n", {"HOME": "/"})

    assert config.beat.schedule["x"].args == ("${HOME}",)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f'broker = "redis://:{SECRET}@host/0"',
        f'broker = "{SECRET}"',
        'broker = "${PASSWORD}://x"',
        'broker = "${PASSWORD}"',
        'app = "${PASSWORD} x"',
        '[log]\nlevel = "${PASSWORD}"',
        '[supervisor]\nstop_timeout = "${PASSWORD}"',
        "[beat.schedule.x]\ntask='t'\ncron='${PASSWORD}'",
        "[beat.schedule.x]\ntask='t'\nevery=1\ntimezone='${PASSWORD}'",
    ],
)
def test_secrets_are_never_in_a_message(text: str) -> None:
    problems = problems_of(text, {"PASSWORD": SECRET})

    assert problems
    assert not any(SECRET in problem for problem in problems), problems


def test_secrets_are_not_in_the_repr_of_a_configuration() -> None:
    assert SECRET not in repr(Config(broker=f"redis://:{SECRET}@host/0"))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sqlite://x.db", "sqlite:///srv/app/x.db"),
        ("sqlite://data/../x.db", "sqlite:///srv/app/x.db"),
        ("sqlite:///var/lib/x.db", "sqlite:///var/lib/x.db"),
        ("sqlite:////var/lib/x.db", "sqlite:///var/lib/x.db"),
        ("memory://", "memory://"),
    ],
)
def test_a_relative_database_lies_beside_the_file(written: str, meant: str) -> None:
    assert config_of(f'broker = "{written}"').broker == meant


def test_relative_paths_start_at_the_directory_of_the_file() -> None:
    config = config_of('[supervisor]\ncontrol_socket="taskd.sock"\n' + WORKER + 'directory = "."\n')

    assert config.supervisor.control_socket == "/srv/app/taskd.sock"
    assert config.workers["mail"].directory == "/srv/app"


def test_a_worker_whose_name_is_a_program_of_another_is_refused() -> None:
    problems = problems_of("app='a:b'\n[worker.a]\nprocesses=2\n[worker.a-1]\n")

    assert len(problems) == 1
    assert '4: worker.a-1: the name "a-1" is also the program name of a process of worker "a"' in problems[0]
    assert problems_of("app='a:b'\n[worker.a]\nprocesses=2\n[worker.a-3]\n") != []
    assert problems_of("app='a:b'\n[worker.a]\nprocesses=2\n[worker.a-b]\n[worker.b-1]\n") == []


def test_the_file_is_found_by_option_then_variable_then_default() -> None:
    assert find("x.toml", {"TASKD_CONFIG": "y.toml"}) == "x.toml"
    assert find(None, {"TASKD_CONFIG": "y.toml"}) == "y.toml"
    assert find(None, {}) == "/etc/taskd.toml"


def test_the_file_in_the_working_directory_counts_for_its_owner_and_never_for_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    local = tmp_path / "taskd.toml"
    local.touch(0o600)
    owner = local.stat().st_uid or 1234
    if os.geteuid() == 0:
        os.chown(local, owner, -1)
    seen = []
    for user, mode in ((owner, 0o600), (owner, 0o666), (owner + 1, 0o644), (0, 0o600)):
        local.chmod(mode)
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        seen.append(find(None, {}) == str(local))
        assert found_here(None, {}) == (str(local) if seen[-1] else None)
        assert found_here(str(local), {}) is None

    assert seen == [True, False, False, False]


def test_the_first_of_two_equal_keys_is_named_where_it_stands() -> None:
    text = b'app = "a:b"\n[worker.mail]\nqueues = ["a"]\n\n[worker."x"]\nqueues = ["a"]\nqueues = ["b"]\n'

    (problem,) = check_bytes(text, PATH)[1]

    assert "the key stands twice in its table, first on line 6" in str(problem)


def test_numbers_and_words_may_come_from_variables_with_defaults() -> None:
    text = (
        b'app = "a:b"\nbroker = "${BROKER:-sqlite:///srv/x.db}"\n[worker.mail]\nconcurrency = "${SLOTS}"\n'
        b'processes = "${N:-3}"\nmingle = "${MINGLE:-false}"\n'
    )

    config, _ = check_bytes(text, PATH, {"SLOTS": "7", "BROKER": ""})
    wrong = check_bytes(text, PATH, {"SLOTS": "seven"})[1]

    assert config is not None
    worker = config.workers["mail"]
    assert (config.broker, worker.concurrency, worker.processes) == ("sqlite:///srv/x.db", 7, 3)
    assert [problem.key for problem in wrong if problem.severity is ProblemSeverity.ERROR] == [
        "worker.mail.concurrency"
    ]


def test_a_limit_of_days_without_a_unit_is_taken_for_milliseconds() -> None:
    text = b'[worker.mail]\nsoft_time_limit = 300000\ntime_limit = "5d"\n'

    problems = [str(problem) for problem in check_bytes(text, PATH)[1] if "limit" in str(problem)]

    assert len(problems) == 1
    assert "soft_time_limit: 300000 seconds are 3.5 days; expected a unit" in problems[0]


def test_a_problem_is_one_line_even_with_line_breaks_in_a_key() -> None:
    problem = Problem(ProblemSeverity.ERROR, "f.toml", 3, "a\nb", "unknown\x1b[31m key", "nothing", "x")

    assert str(problem) == 'f.toml:3: a\\nb: unknown\\x1b[31m key; expected nothing; did you mean "x"?'


def test_a_solar_entry_without_the_extra_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "astral", None)
    text = "[beat.schedule.x]\ntask='t'\nsolar='sunset'\nlatitude=52.5\nlongitude=13.4"

    config, problems = check_bytes(text.encode(), "t.toml", {})

    assert config is None
    assert "t.toml:3: beat.schedule.x.solar: sun times need the package astral" in str(problems[0])
    assert "pip install 'taskd[solar]'" in str(problems[0])


def test_a_periodic_task_for_a_queue_without_a_worker_is_warned_of() -> None:
    entry = "[beat.schedule.x]\ntask = 't'\nevery = '1s'\nqueue = 'defualt'\n"

    (problem,) = problems_of(f"{WORKER}{entry}")

    assert 'beat.schedule.x.queue: no worker of this file consumes from the queue "defualt"' in problem
    assert 'did you mean "default"?' in problem
    assert problems_of(f'broker = "redis://localhost/0"\n{WORKER}{entry}') == []


def test_a_database_in_the_root_directory_is_warned_of() -> None:
    (problem,) = problems_of(f'broker = "sqlite:///b.db"\n{WORKER}')

    assert problem.startswith(
        "1: warning: broker: /b.db is a file in the root directory; expected sqlite://b.db for"
    )


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("redis://localhost:99999/0", "the port is not a number from 1 to 65535"),
        ("redis://:secret@localhost:port/0", "the port is not a number from 1 to 65535"),
        ("amqp://localhost:0//", "the port is not a number from 1 to 65535"),
        ("redis://localhost/zero", "the database is not a number"),
    ],
)
def test_a_server_that_cannot_be_is_refused(url: str, wrong: str) -> None:
    (problem,) = problems_of(f'broker = "{url}"\n{WORKER}')

    assert problem.startswith(f"1: broker: {wrong}; expected ")
    assert "secret" not in problem


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "rediss://user:p%2Fw@[::1]:6380/3?ssl_ca_certs=/etc/ssl/ca.pem",
        "redis://localhost?db=0",
        "amqp://guest:guest@localhost:5672//",
        "amqp://one:5672//;amqp://two:5672//",
        "sentinel://one:26379,two:26379/0",
    ],
)
def test_a_server_is_accepted_in_every_form(url: str) -> None:
    assert problems_of(f'broker = "{url}"\n{WORKER}') == []


def test_the_transports_of_kombu_are_not_all_listed() -> None:
    (problem,) = problems_of(f'broker = "reddis://x"\n{WORKER}')

    assert problem.endswith('kombu+NAME:// (NAME is a transport of kombu); did you mean "redis"?')


@pytest.mark.parametrize("number", ["1" + "0" * 400, "0x" + "f" * 5000, "-" + "9" * 25])
@pytest.mark.parametrize(
    "line",
    [
        "concurrency = {}",
        "soft_time_limit = {}",
        "max_memory_per_child = {}",
        "nice = {}",
        "limits.nofile = {}",
    ],
)
def test_an_integer_that_no_machine_word_holds_is_a_problem_with_its_key(line: str, number: str) -> None:
    key = line.partition(" ")[0]
    expected = "expected a whole number of at most 64 bits, as in TOML"
    assert problems_of(WORKER + line.format(number)) == [
        f"3: worker.mail.{key}: the number is too large; {expected}"
    ]


def test_a_number_of_more_digits_than_python_reads_is_a_problem_and_no_traceback() -> None:
    assert "out of range" in problems_of(WORKER + f"concurrency = {'9' * 5000}")[0]


@given(st.text(alphabet="0123456789eE+-._xinfabo", min_size=1, max_size=40))
def test_whatever_stands_for_a_number_the_check_answers(text: str) -> None:
    check_bytes(f"{WORKER}concurrency = {text}\nsoft_time_limit = {text}".encode(), PATH, {})
