"""A suggestion is close to what was typed, or there is none."""

from __future__ import annotations

import pytest

from taskd.base.nearest import nearest

VERBS = ("status", "stop", "start", "restart", "queues", "purge", "result", "revoke", "reload", "rate-limit")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("statsu", "status"),
        ("queue", "queues"),
        ("rate_limit", "rate-limit"),
        ("STOP", "stop"),
        ("relaod", "reload"),
        ("sto", "stop"),
        ("resu", "result"),
    ],
)
def test_a_slip_of_the_finger_is_understood(typed: str, meant: str) -> None:
    assert nearest(typed, VERBS) == meant


@pytest.mark.parametrize(
    "typed", ["remove", "remote", "tasks", "state", "x", "", "limits", "letter", "resume"]
)
def test_a_word_that_only_looks_alike_is_not_offered(typed: str) -> None:
    assert nearest(typed, VERBS) == ""


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("shop.tasks.send_receipt", "shop.tasks.send_invoice"),
        ("concurrency", "currency_code"),
        ("default", "fault"),
        ("mail", "bulk"),
    ],
)
def test_a_name_of_its_own_is_not_taken_for_another(typed: str, known: str) -> None:
    assert nearest(typed, [known]) == ""


def test_the_closest_of_several_is_offered() -> None:
    assert nearest("concurency", ["currency", "concurrent", "concurrency"]) == "concurrency"


def test_an_unfinished_word_that_may_mean_two_names_means_none() -> None:
    assert nearest("conf", ["configure", "confirmed"]) == ""
