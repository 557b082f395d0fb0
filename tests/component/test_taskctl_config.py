"""taskctl config: what the file says, where, and what its keys mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taskd.base import exit_codes
from taskd.cli.taskctl import main
from taskd.config.reference import declared, key_patterns

FILE = """
broker = "sqlite:///DIRECTORY/b.db"
[supervisor]
stop_timeout = "1m"
[worker.mail]
app = "shop:app"
environment = { TOKEN = "hush" }
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "taskd.toml"
    file.write_text(FILE.replace("DIRECTORY", str(tmp_path)))
    return str(file)


def test_every_value_is_shown_with_where_it_comes_from(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", path, "config", "show", "--json"]) == exit_codes.OK

    keys = {row["key"]: (row["value"], row["line"]) for row in json.loads(capsys.readouterr().out)["keys"]}
    assert keys["supervisor.stop_timeout"] == ('"60s"', 4)
    assert keys["supervisor.start_timeout"] == ('"60s"', None)
    assert keys["worker.mail.app"] == ('"shop:app"', 6)
    assert keys["worker.mail.environment.TOKEN"] == ("***", 7)


def test_show_is_a_table_for_people(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", path, "config", "show"]) == exit_codes.OK

    output = capsys.readouterr().out
    assert "hush" not in output
    assert any(
        line.split() == ["supervisor.stop_timeout", '"60s"', "line", "4"] for line in output.splitlines()
    )


def test_a_key_is_explained(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", path, "config", "explain", "supervisor.stop_timeout"]) == exit_codes.OK

    output = capsys.readouterr().out
    assert "supervisor.stop_timeout: How long a warm stop waits for running tasks" in output
    assert 'default     "5m"' in output
    assert f'value       "60s" ({path}, line 4)' in output


def test_what_all_tables_of_a_kind_have_in_common_is_explained_without_a_value(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", path, "config", "explain", "worker.NAME.pool", "--json"]) == exit_codes.OK

    facts = json.loads(capsys.readouterr().out)
    assert facts["value"] is None
    assert "prefork" in facts["accepts"]


def test_an_unknown_key_is_answered_with_the_nearest(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", path, "config", "explain", "supervisor.stop_time"]) == exit_codes.USAGE

    assert 'did you mean "supervisor.stop_timeout"?' in capsys.readouterr().err


@pytest.mark.parametrize("key", ["prefetch", "worker.prefetch", "mail.prefetch"])
def test_a_key_without_its_table_is_answered_with_the_table(
    key: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", path, "config", "explain", key]) == exit_codes.USAGE

    assert 'did you mean "worker.NAME.prefetch"?' in capsys.readouterr().err


def test_a_key_of_several_tables_is_answered_with_all(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", path, "config", "explain", "nice"]) == exit_codes.USAGE

    assert 'did you mean "worker.NAME.nice", "program.NAME.nice" or "beat.nice"?' in capsys.readouterr().err


def test_a_misspelt_key_without_its_table_is_answered_with_the_nearest(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", path, "config", "explain", "prefech"]) == exit_codes.USAGE

    assert 'did you mean "worker.NAME.prefetch"?' in capsys.readouterr().err


def test_every_key_can_be_explained() -> None:
    assert [key for key in key_patterns() if declared(tuple(key.split("."))) is None] == []
