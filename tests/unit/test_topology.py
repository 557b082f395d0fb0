"""Routing by AMQP's rules, and the names of wake-up sockets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.base.errors import BrokerError
from taskd.brokers.topology import exchange_type, matches
from taskd.storage.sqlite.wake import _NAME_LIMIT_BYTES, _name, _parse


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("#", "", True),
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.#", "b.a", False),
        ("#.c", "a.b.c", True),
        ("a.#.c", "a.c", True),
        ("*.#.*", "a", False),
        ("*.#.*", "a.b", True),
        ("*", "", False),
        ("a+b", "aab", False),
    ],
)
def test_a_topic_matches_by_words(pattern: str, key: str, expected: bool) -> None:
    assert matches("topic", pattern, key) is expected


_words = st.lists(st.sampled_from("ab"), max_size=6)


@given(st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=6), _words)
def test_a_topic_matches_as_the_regular_expression_of_its_words_does(
    pattern: list[str], words: list[str]
) -> None:
    parts = {"*": "[ab] ", "#": "(?:[ab] )*"}
    expression = "".join(parts.get(token, f"{token} ") for token in pattern)
    expected = re.fullmatch(expression, "".join(f"{word} " for word in words)) is not None

    assert matches("topic", ".".join(pattern), ".".join(words)) is expected


def test_a_direct_exchange_takes_wildcards_literally() -> None:
    assert matches("direct", "a.*", "a.*")
    assert not matches("direct", "a.*", "a.b")


def test_a_fanout_matches_everything() -> None:
    assert matches("fanout", "a", "b")


def test_an_unknown_exchange_type_is_refused_by_name() -> None:
    with pytest.raises(BrokerError, match=r"headers.*direct, topic, fanout"):
        exchange_type("headers")


@given(st.sets(st.integers(min_value=0), max_size=30))
def test_the_name_of_a_listener_says_what_it_listens_to(topics: set[int]) -> None:
    listed = _parse(_name("12-abc", topics))

    assert listed is not None
    fits = len(f"12-abc.{'-'.join(map(str, topics))}") <= _NAME_LIMIT_BYTES
    assert listed.topics == (topics if fits else None), "what does not fit listens to everything"


@pytest.mark.parametrize("name", ["README", "a.b", "a.1-x", "a.1.x"])
def test_a_foreign_name_is_no_listener(name: str) -> None:
    assert _parse(name) is None
