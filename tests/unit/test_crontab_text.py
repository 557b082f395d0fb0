"""The text of cron expressions: what it means, and at which column it is refused."""

from __future__ import annotations

import pytest
from cronsim import CronSim
from hypothesis import assume, example, given
from hypothesis import strategies as st

from taskd.base import clock
from taskd.config.crontab import LAST, NICKNAMES, CronError, CronFields, parse

numbers = st.integers(0, 70).map(str)
names = st.sampled_from(["MON", "sun", "Jan", "DEC", "FOO", "L", "LW", "*", "5L", "TUE#3", "1#6", ""])
atoms = st.one_of(numbers, names)
items = st.one_of(
    atoms,
    st.tuples(atoms, atoms).map("-".join),
    st.tuples(atoms, numbers).map("/".join),
    st.tuples(numbers, numbers, numbers).map(lambda three: f"{three[0]}-{three[1]}/{three[2]}"),
)
fields = st.lists(items, min_size=1, max_size=3).map(",".join)
expressions = st.lists(fields, min_size=4, max_size=6).map(" ".join)


def sound(low: int, high: int, special: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    """Return fields that are in range."""
    number = st.integers(low, high)
    step = st.integers(1, high - low)
    # cronsim takes "3-3/2" for "3/2", so ranges have two ends.
    spans = st.tuples(number, number).filter(lambda span: span[0] != span[1]).map(sorted)
    item = st.one_of(
        number.map(str),
        spans.map(lambda span: f"{span[0]}-{span[1]}"),
        st.tuples(spans, step).map(lambda each: f"{each[0][0]}-{each[0][1]}/{each[1]}"),
        st.tuples(number, step).map(lambda each: f"{each[0]}/{each[1]}"),
        st.sampled_from(("*", "*/2", *special)),
    )
    return st.lists(item, min_size=1, max_size=3).map(",".join)


sound_expressions = st.tuples(
    sound(0, 59),
    sound(0, 23),
    sound(1, 31),
    sound(1, 12, ("JAN", "dec")),
    sound(0, 7, ("SUN", "mon-fri", "5L", "TUE#3")),
).map(" ".join)


@pytest.mark.parametrize(
    ("text", "column", "named"),
    [
        ("61 * * * *", 1, "minute 61 is out of range; expected 0 to 59"),
        ("0 24 * * *", 3, "hour 24 is out of range"),
        ("0  0 32 * *", 6, "day 32 is out of range; expected 1 to 31"),
        ("0 0 1 13 *", 7, "month 13 is out of range; expected 1 to 12 or JAN to DEC"),
        ("0 0 * * 8", 9, "weekday 8 is out of range; expected 0 to 7 or SUN to SAT"),
        ("0 0 1,5,40 * *", 9, "day 40 is out of range"),
        ("0 9-25 * * *", 5, "hour 25 is out of range"),
        ("0 22-2 * * *", 3, 'the range "22-2" runs backwards; expected "22-23,0-2"'),
        ("*/0 * * * *", 3, "the step 0 is out of range; expected 1 to 60"),
        ("*/90 * * * *", 3, "the step 90 is out of range; expected 1 to 60"),
        ("1,,2 * * * *", 3, "a minute is missing"),
        ("0 0 * FEV *", 7, 'month "FEV" is unknown; expected 1 to 12 or JAN to DEC; did you mean "FEB"?'),
        ("0 0 * * TUE#6", 13, "a month has no weekday number 6; expected # and 1 to 5"),
        ("0 0 31 2 *", 5, "no month of FEB has a day 31; expected a day up to 29"),
        ("0 0 31 4,6,9,11 *", 5, "no month of APR, JUN, SEP, NOV has a day 31"),
        ("0 0 */31 * MON#2", 5, "day and weekday never fall together"),
        ("0 0 * * L", 9, 'weekday "L" is unknown'),
        ("0 0 * *", 8, "4 fields are given; expected five fields"),
        ("0 0 * * * *", 11, "6 fields are given"),
        ("", 1, "0 fields are given"),
        ("5", 2, "1 field is given; expected five fields"),
        ("@dayly", 1, 'did you mean "@daily"?'),
        ("@reboot", 1, 'the nickname "@reboot" is unknown'),
        ("² * * * *", 1, "is not a minute"),
    ],
)
def test_a_mistake_is_named_with_its_column(text: str, column: int, named: str) -> None:
    with pytest.raises(CronError) as caught:
        parse(text)

    assert caught.value.column == column
    assert named in str(caught.value)


@given(text=st.one_of(expressions, st.text(max_size=30)))
@example("0 0 29 2 *")
def test_any_text_is_read_or_refused_at_a_column_within_it(text: str) -> None:
    found = read(text)

    if isinstance(found, CronError):
        assert 1 <= found.column <= len(text) + 1
        assert found.wrong
        assert found.expected
    else:
        assert found.minutes
        assert found.hours
        assert any(found.days_of(month, first, 31) for month in range(1, 13) for first in range(7))


def read(text: str) -> CronFields | CronError:
    try:
        return parse(text)
    except CronError as error:
        return error


@given(text=sound_expressions)
def test_it_means_what_it_means_to_cronsim(text: str) -> None:
    found = read(text)
    assume(not isinstance(found, CronError))  # a day that none of the months has
    assert isinstance(found, CronFields)

    judge = CronSim(text, clock.utc(0))

    assert set(found.minutes) == judge.minutes
    assert set(found.hours) == judge.hours
    assert found.months == judge.months
    assert found.days == {day for day in judge.days if day > 0}
    assert found.weekdays == {day % 7 for day in judge.weekdays if isinstance(day, int)}
    assert found.nth_weekdays == {
        (day[0] % 7, LAST if day[1] == CronSim.LAST else day[1])
        for day in judge.weekdays
        if not isinstance(day, int)
    }
    assert found.days_agree == judge.day_and


@pytest.mark.parametrize(("nickname", "expression"), NICKNAMES.items())
def test_a_nickname_means_its_expression(nickname: str, expression: str) -> None:
    assert parse(nickname) == parse(nickname.upper()) == parse(f"  {nickname} ") == parse(expression)


def test_sunday_is_nought_and_seven_and_by_name() -> None:
    assert parse("0 0 * * 0") == parse("0 0 * * 7") == parse("0 0 * * sun")
    assert parse("0 0 * * 5-7") == parse("0 0 * * fri,sat,sun")


def test_the_29th_of_february_is_possible() -> None:
    assert parse("0 0 29 2 *").days == {29}
