"""The tables of kinds in the documentation say what the records say."""

from __future__ import annotations

from pathlib import Path

from taskd.config.built_in import BROKERS, POOLS
from taskd.config.kinds import BrokerCan

DOCS = Path(__file__).parents[2] / "docs"
#: One of each column of the table; the transports of kombu that lack something are told of below it.
COLUMNS = ("sqlite", "memory", "redis", "amqp", "kombu+mongodb")


def capabilities() -> str:
    """Return the rows of the table of capabilities."""
    return "\n".join(
        f"| `{each.name}`: {each.value} | "
        + " | ".join("yes" if each in BROKERS[scheme].can else "" for scheme in COLUMNS)
        + " |"
        for each in BrokerCan
    )


def test_the_table_of_brokers_is_that_of_the_records() -> None:
    page = (DOCS / "extending.md").read_text()

    assert capabilities() in page, f"renew the table:\n{capabilities()}"


def test_the_table_of_pools_has_a_column_for_each_and_its_slots() -> None:
    rows = (DOCS / "pools.md").read_text().splitlines()
    heads = [cell.strip().removesuffix(" (default)") for cell in rows[2].strip("|").split("|")[1:]]
    slots = next(row for row in rows if row.startswith("| `concurrency = 0` means")).strip("|").split("|")[1:]
    said = {name: cell.strip() for head, cell in zip(heads, slots, strict=True) for name in head.split(", ")}
    words = {0: "one per processor", 1: "one"}

    assert said == {
        name: words.get(kind.default_slots, str(kind.default_slots)) for name, kind in POOLS.items()
    }


def test_the_table_of_priorities_is_that_of_the_records() -> None:
    page = (DOCS / "redis.md").read_text()

    assert f"| SQLite, RabbitMQ | {BROKERS['sqlite'].most_urgent} |" in page
    assert f"| Redis | {BROKERS['redis'].most_urgent} |" in page
    assert BROKERS["amqp"].most_urgent == BROKERS["sqlite"].most_urgent
