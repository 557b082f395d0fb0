"""Moments: who hears, in which order, and what an error of a subscriber costs."""

from __future__ import annotations

import pytest

from taskd.base.moment import Moment


def test_subscribers_hear_in_order_until_they_end_their_subscription() -> None:
    moment: Moment[int] = Moment("tested")
    heard: list[str] = []
    end_first = moment.subscribe(lambda what: heard.append(f"first {what}"))
    moment.subscribe(lambda what: heard.append(f"second {what}"))

    moment.publish(1)
    end_first()
    end_first()
    moment.publish(2)

    assert heard == ["first 1", "second 1", "second 2"]


def test_an_error_of_one_subscriber_is_logged_and_keeps_nothing_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    moment: Moment[int] = Moment("tested")
    heard: list[int] = []

    def fails(what: int) -> None:
        raise ValueError(what)

    moment.subscribe(fails)
    moment.subscribe(heard.append)
    moment.publish(7)

    assert heard == [7]
    assert "a subscriber of moment=tested failed" in caplog.text


def test_who_has_to_look_first_is_told_of_the_first_subscriber_and_of_the_last() -> None:
    moment: Moment[int] = Moment("tested")
    told: list[bool] = []
    moment.when_heard(told.append)

    ends = [moment.subscribe(lambda what: None), moment.subscribe(lambda what: None)]
    for end in ends:
        end()

    assert told == [False, True, False]
    assert moment.heard_by == ()


def test_a_subscription_that_ends_while_it_is_told_takes_nothing_from_the_others() -> None:
    moment: Moment[int] = Moment("tested")
    heard: list[int] = []
    ends = [moment.subscribe(lambda what: ends[0]()), moment.subscribe(heard.append)]

    moment.publish(1)
    moment.publish(2)

    assert heard == [1, 2]
