"""What differs between two configurations is said key by key, and no secret is said."""

from __future__ import annotations

import textwrap

from taskd.config.diff import Difference, diff
from taskd.config.key_values import KeyValue, walk
from taskd.config.load import check_bytes
from taskd.config.option import Applies
from taskd.config.schema import Config
from taskd.config.stores import AmqpConfig
from taskd.consumer.commands.shown_config import masked

_BASE = """
app = "shop:app"
[worker.mail]
queues = ["mail"]
"""


def _config(text: str) -> Config:
    config, problems = check_bytes(textwrap.dedent(text).encode(), "/srv/taskd.toml", {})
    assert config is not None, problems
    return config


def _changes(old: str, new: str) -> list[str]:
    return [str(change) for change in diff(_config(old), _config(new))]


def test_equal_configurations_differ_in_nothing() -> None:
    assert diff(_config(_BASE), _config(_BASE)) == ()


def test_a_changed_key_has_its_old_and_its_new_value_as_in_a_file() -> None:
    new = _BASE.replace('["mail"]', '["mail", "default"]') + 'time_limit = "90s"\n[log]\nlevel = "debug"\n'

    assert _changes(_BASE, new) == [
        'log.level: "info" -> "debug"',
        'worker.mail.queues: ["mail"] -> ["mail", "default"]',
        'worker.mail.time_limit: 0 -> "90s"',
    ]


def test_a_table_that_comes_or_goes_is_one_change() -> None:
    added = diff(_config(_BASE), _config(_BASE + '[worker.web]\nqueues = ["web"]\npool = "solo"\n'))
    removed = diff(_config(_BASE + '[beat.schedule.a]\ntask = "t"\nevery = 5\n'), _config(_BASE))

    assert [(change.key, change.difference) for change in added] == [("worker.web", Difference.ADDED)]
    assert [(change.key, change.difference) for change in removed] == [
        ("beat.schedule.a", Difference.REMOVED)
    ]


def test_a_password_in_a_url_is_masked_but_its_change_is_seen() -> None:
    def config(password: str) -> Config:
        return Config(broker=f"redis://user:{password}@host:6379/0?password={password}")

    (change,) = diff(config("first"), config("second"))

    assert change.key == "broker"
    assert change.old == change.new == '"redis://user:***@host:6379/0?***"'
    assert str(change) == "broker: changed (not shown)"


def test_of_an_environment_only_the_names_are_shown() -> None:
    old = _BASE + 'environment = { TOKEN = "one", GONE = "x" }\n'
    new = _BASE + 'environment = { TOKEN = "two", NEW = "y" }\n'

    changes = diff(_config(old), _config(new))

    assert [change.key for change in changes] == [
        "worker.mail.environment.TOKEN",
        "worker.mail.environment.GONE",
        "worker.mail.environment.NEW",
    ]
    assert not any(value in str(changes) for value in ("one", "two", "'x'", "'y'"))


def test_of_the_options_of_a_transport_only_the_names_are_shown() -> None:
    options = {"password": "hunter2", "client": {"token": "hunter2"}}
    config = Config(amqp=AmqpConfig(transport_options=options))

    shown = {".".join(path): leaf.shown for path, leaf in walk(config) if isinstance(leaf, KeyValue)}

    assert {"amqp.transport_options.password", "amqp.transport_options.client"} <= set(shown)
    assert "hunter2" not in f"{shown} {masked(config)} {config!r}"
    assert "password" in str(masked(config)), "its name helps"


def test_each_change_says_what_it_takes_to_be_in_force() -> None:
    new = (
        _BASE
        + 'processes = 2\nconcurrency = 7\n[log]\nlevel = "debug"\n'
        + '[supervisor]\ncontrol_socket = "/other"\n'
    )

    assert {change.key: change.applies for change in diff(_config(_BASE), _config(new))} == {
        "supervisor.control_socket": Applies.RESTART,
        "log.level": Applies.LIVE,
        "worker.mail.processes": Applies.LIVE,
        "worker.mail.concurrency": Applies.ROLL,
    }
