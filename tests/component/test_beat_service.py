"""Beat at work on a loop: firing, a broker that is away, missed runs, overlaps, clocks, status lines."""

from __future__ import annotations

import msgspec
import pytest

from taskd.base import clock
from taskd.base.loop import Loop
from taskd.beat.messages import beat_message, occurrence_id
from taskd.beat.stores.base import RunOutcome
from taskd.config.schedule import BeatEntryConfig
from taskd.protocol.message import decode_body, decode_headers
from taskd.protocol.status import Heartbeat, Ready, Waiting
from tests.component.beat_bench import NOON, every
from tests.component.beat_fixtures import Make, make
from tests.waiting import wait_until

__all__ = ["make"]


def ids_of(name: str, *offsets_s: float) -> list[str]:
    return [occurrence_id(name, NOON + offset_s) for offset_s in offsets_s]


def test_an_entry_is_sent_when_it_is_due_and_not_at_the_start(make: Make) -> None:
    bench = make(every("minute", 60.0))
    bench.start()
    assert bench.broker.sent == []

    bench.advance(60.0)

    assert bench.broker.ids == ids_of("minute", 60)


def test_ticks_ahead_of_time_leave_one_timer(loop: Loop, make: Make) -> None:
    bench = make(every("often", 0.05))
    beat = bench.start()
    for _ in range(50):
        beat.tick()
    bench.looks = 0
    until = clock.monotonic() + 0.2
    while clock.monotonic() < until:
        loop.run_once(0.05)

    # One timer of 50 ms looks at the clock some dozen times in this span, fifty of them 600 times.
    assert 0 < bench.looks < 60


def test_a_real_timer_wakes_beat_for_the_next_run(make: Make) -> None:
    bench = make(every("often", 0.05))
    bench.start(now=clock.now)

    bench.run_until_sent(3)


def test_a_clock_that_is_set_forward_is_said(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    bench = make(every("minute", 60.0))
    bench.start()

    bench.advance(3600.0)

    assert "the clock was set forward by 3600 s: runs that came due in between" in caplog.text


# -- missed runs -------------------------------------------------------------------------------------


def test_what_came_due_while_no_beat_ran_follows_the_rule_of_the_entry(make: Make) -> None:
    bench = make(
        every("none", 60.0, missed="skip"),
        every("latest", 60.0, missed="last"),
        every("all", 60.0, missed="all", max_missed=2),
    )
    bench.start()
    bench.stop()
    bench.now_at += 215.0
    bench.start()

    assert sorted(bench.broker.ids) == sorted([*ids_of("latest", 180), *ids_of("all", 120, 180)])
    skipped = {each.name: each.count for each in bench.history() if each.outcome is RunOutcome.SKIPPED}
    assert skipped == {"none": 3, "latest": 2, "all": 1}


def test_an_entry_that_is_new_has_missed_nothing(make: Make) -> None:
    bench = make(every("old", 60.0, missed="all"))
    bench.start()
    bench.stop()
    bench.now_at += 3600.0
    bench.entries["new"] = every("new", 60.0, missed="all")
    bench.start()

    assert occurrence_id("new", bench.now_at) not in bench.broker.ids
    assert len(bench.broker.ids) == 60


def test_an_entry_with_another_schedule_counts_from_the_change(make: Make) -> None:
    bench = make(every("job", 86_400.0, missed="all"))
    bench.start()
    bench.stop()
    bench.now_at += 3600.0
    bench.entries["job"] = every("job", 60.0, missed="all")
    bench.start()
    assert bench.broker.sent == []

    bench.advance(60.0)

    assert bench.broker.ids == ids_of("job", 3660)


def test_the_same_run_is_not_sent_again_after_a_restart(make: Make) -> None:
    bench = make(every("minute", 60.0, missed="all"))
    bench.start()
    bench.advance(60.0)
    bench.stop()
    bench.broker.sent.clear()
    bench.start()

    bench.advance(1.0)

    assert bench.broker.sent == []


def test_runs_that_came_due_while_the_broker_was_away_are_sent_when_it_is_back(make: Make) -> None:
    bench = make(every("minute", 60.0), every("hour", 3600.0), every("each", 1200.0, missed="all"))
    bench.start()
    bench.broker.is_away = True
    bench.advance(3600.0)
    bench.advance(60.0)
    assert bench.broker.sent == []

    bench.broker.is_away = False
    bench.run_until_sent(5)

    expected = [*ids_of("minute", 3660), *ids_of("hour", 3600), *ids_of("each", 1200, 2400, 3600)]
    assert sorted(bench.broker.ids) == sorted(expected)
    sent = [each for each in bench.history("hour") if each.outcome is RunOutcome.SENT]
    assert [(each.late_s, each.reason) for each in sent] == [(60.0, "the broker was away")]


def test_what_was_not_sent_before_a_stop_is_a_missed_run_of_the_next_start(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make(every("minute", 60.0))
    bench.start()
    bench.broker.is_away = True
    bench.advance(60.0)
    bench.stop()
    assert "due and not sent" in caplog.text
    assert bench.broker.open == 0

    bench.broker.is_away = False
    bench.start()

    assert bench.broker.ids == ids_of("minute", 60)


# -- clocks ------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_ahead_is_a_stop_like_any_other(make: Make) -> None:
    bench = make(every("minute", 60.0, missed="last"), every("none", 60.0, missed="skip"))
    bench.start()

    bench.advance(86_400.0 + 31.0)

    assert bench.broker.ids == ids_of("minute", 86_400)


def test_a_clock_that_goes_back_a_little_repeats_nothing(make: Make) -> None:
    bench = make(every("minute", 60.0))
    bench.start()
    bench.advance(60.0)
    bench.advance(-1.0)
    bench.advance(1.5)
    assert len(bench.broker.sent) == 1

    bench.advance(60.0)

    assert bench.broker.ids == ids_of("minute", 60, 120)


def test_a_clock_that_goes_back_far_silences_nothing_and_sends_no_run_twice(make: Make) -> None:
    bench = make(every("minute", 60.0))
    bench.start()
    bench.advance(3600.0)  # sends the run of the hour
    bench.advance(-600.0)
    assert len(bench.broker.sent) == 1

    for _ in range(10):
        bench.advance(60.0)

    # Those between the jumps had not been sent; the last is the one that had.
    assert bench.broker.ids == ids_of("minute", 3600, *range(3060, 3600, 60))
    assert bench.history()[-1].outcome is RunOutcome.ALREADY_SENT


def test_a_clock_that_was_wrong_while_no_beat_ran_silences_nothing(make: Make) -> None:
    bench = make(every("minute", 60.0))
    bench.now_at = NOON + 10 * 365 * 86_400.0
    bench.start()
    bench.advance(60.0)
    bench.stop()
    bench.broker.sent.clear()
    bench.now_at = NOON
    bench.start()

    bench.advance(60.0)

    assert bench.broker.ids == ids_of("minute", 60)


# -- overlaps ----------------------------------------------------------------------------------------


def test_a_run_is_skipped_while_the_former_is_on_its_way(make: Make) -> None:
    bench = make(every("minute", 60.0, overlap="skip"))
    bench.start()
    bench.advance(60.0)
    bench.advance(60.0)
    bench.broker.over.update(bench.broker.ids)
    bench.advance(60.0)

    assert bench.broker.ids == ids_of("minute", 60, 180)
    assert [each.reason for each in bench.history()] == ["", "the former run is still on its way", ""]


def test_a_run_waits_for_the_former_and_is_sent_after_it(make: Make) -> None:
    bench = make(every("minute", 60.0, overlap="queue", missed="skip"))
    bench.start()
    bench.advance(60.0)
    bench.advance(60.0)
    bench.advance(40.0)  # later than missed_after: it was not missed, it waited
    assert bench.broker.ids == ids_of("minute", 60)

    bench.broker.over.update(bench.broker.ids)
    bench.advance(1.0)

    assert bench.broker.ids == ids_of("minute", 60, 120)


def test_missed_runs_that_may_not_overlap_are_sent_one_after_the_other(make: Make) -> None:
    bench = make(every("minute", 60.0, overlap="queue", missed="all"))
    bench.start()
    bench.advance(180.0)
    assert bench.broker.ids == ids_of("minute", 60)

    for _ in range(2):
        bench.broker.over.update(bench.broker.ids)
        bench.advance(1.0)

    assert bench.broker.ids == ids_of("minute", 60, 120, 180)


def test_runs_may_overlap_unless_told_otherwise(make: Make) -> None:
    bench = make(every("minute", 60.0))
    bench.start()
    bench.advance(60.0)
    bench.advance(60.0)

    assert bench.broker.ids == ids_of("minute", 60, 120)


# -- what it says ------------------------------------------------------------------------------------


def test_a_broker_that_is_away_and_back_is_told_to_the_supervisor(make: Make) -> None:
    bench = make(every("minute", 60.0))
    bench.broker.is_away = True
    bench.start()
    bench.advance(60.0)
    bench.broker.is_away = False
    bench.run_until_sent(1)

    waiting = [line for line in bench.lines if isinstance(line, Waiting)]
    assert "nobody is there" in waiting[0].reason
    assert bench.lines.count(Ready()) == 1
    assert Ready() in bench.lines[1:]


def test_ready_is_reported_once_and_heartbeats_count_what_was_sent(make: Make) -> None:
    bench = make(every("minute", 60.0))
    bench.start()
    assert bench.lines[0] == Ready()
    bench.advance(60.0)

    def last_heartbeat() -> Heartbeat:
        bench.advance(0.0)
        return [line for line in bench.lines if isinstance(line, Heartbeat)][-1]

    wait_until(lambda: last_heartbeat().done == 1)
    assert last_heartbeat().rss_bytes > 1_000_000
    assert bench.lines.count(Ready()) == 1


def test_each_run_is_one_line_with_its_facts(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    bench = make(every("minute", 60.0))
    bench.start()
    bench.advance(62.5)

    (task_id,) = bench.broker.ids
    expected = f"sent entry=minute task=tasks.minute id={task_id} due={clock.iso(NOON + 60)} late_s=2.500"
    assert expected in caplog.text


def test_an_entry_that_cannot_be_used_is_reported_and_keeps_no_other_from_firing(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    odd = BeatEntryConfig(name="odd", task="t", cron="61 * * * *")
    bench = make(odd, every("minute", 60.0))
    bench.start()

    bench.advance(60.0)

    assert "entry=odd" in caplog.text
    assert bench.broker.ids == ids_of("minute", 60)


def test_arguments_that_cannot_be_sent_fail_that_run_alone(make: Make) -> None:
    bench = make(every("odd", 60.0, args=(object(),)), every("minute", 60.0))
    bench.start()

    bench.advance(60.0)

    assert bench.broker.ids == ids_of("minute", 60)
    (failed,) = bench.history("odd")
    assert failed.outcome is RunOutcome.FAILED


# -- the message -------------------------------------------------------------------------------------


def test_the_message_is_a_task_of_protocol_2_marked_as_sent_by_beat() -> None:
    options = {"args": (1, "a"), "kwargs": {"deep": [True]}, "queue": "slow", "priority": 7, "expires": 30.0}
    entry = every("report", 60.0, **options)

    message = beat_message(entry, NOON, occurrence_id("report", NOON))

    headers = decode_headers(message.headers)
    assert message.task_id == occurrence_id("report", NOON)
    assert (headers.task, headers.id, headers.root_id) == ("tasks.report", message.task_id, message.task_id)
    assert headers.expires_at == NOON + 30.0
    assert msgspec.json.decode(message.headers)["celery_beat_task"] is True
    assert decode_body(message.body, message.content_type)[:2] == (
        [1, "a"],
        {"deep": [True]},
    )
    assert (message.routing_key, message.priority, message.due_at) == ("slow", 7, None)
    assert decode_headers(beat_message(every("report", 60.0), NOON, "x").headers).expires is None


def test_one_occurrence_has_one_id_and_another_has_another() -> None:
    assert occurrence_id("report", NOON) == occurrence_id("report", NOON)
    assert occurrence_id("report", NOON) != occurrence_id("report", NOON + 60)
    assert occurrence_id("report", NOON) != occurrence_id("other", NOON)


# -- events ------------------------------------------------------------------------------------------


def test_who_listens_hears_what_became_of_each_run(make: Make) -> None:
    bench = make(every("minute", 60.0), every("hourly", 3600.0, missed="skip"))
    bench.broker.is_listened = True
    bench.start()
    bench.advance(60.0)
    bench.broker.is_away = True
    bench.advance(3 * 3600.0)
    bench.broker.is_away = False

    def heard() -> int:
        bench.loop.run_once(0.01)
        return len(bench.broker.heard)

    wait_until(lambda: heard() == 4)

    sent, *late = bench.broker.heard
    assert (sent.type, sent.raw["entry"], sent.raw["due"]) == ("beat-sent", "minute", NOON + 60)
    assert sent.raw["uuid"] in bench.broker.ids
    assert sent.hostname.startswith("beat@")
    assert [(each.type, each.raw["entry"], each.raw["reason"]) for each in late] == [
        ("beat-skipped", "minute", "missed; a later run took its place"),
        ("beat-skipped", "hourly", "missed"),
        ("beat-sent", "minute", "the broker was away"),
    ]
    assert late[1].raw["count"] == 3


@pytest.mark.parametrize(("listened", "deaf"), [(False, False), (True, True)])
def test_runs_are_sent_whether_anybody_hears_of_them_or_not(make: Make, listened: bool, deaf: bool) -> None:
    bench = make(every("minute", 60.0))
    bench.broker.is_listened, bench.broker.is_deaf = listened, deaf
    bench.start()

    bench.advance(60.0)
    bench.advance(60.0)

    assert bench.broker.ids == ids_of("minute", 60, 120)
    assert bench.broker.heard == []
