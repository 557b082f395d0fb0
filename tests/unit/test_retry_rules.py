"""Retries, whatever the task, its message and its exception say."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from taskd import App
from taskd.base import clock
from taskd.execution.native.execute import Executor
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Assignment, End, decode_reply, encode
from taskd.sending.calls import build_message
from taskd.sending.options import SendOptions

LIMITS = st.one_of(st.none(), st.integers(0, 5))
WAITS = st.one_of(st.none(), st.floats(), st.integers(), st.text(max_size=3), st.booleans())
LONGEST_BACKOFF_S = 600.0


@settings(max_examples=200)
@given(
    of_task=LIMITS,
    of_message=LIMITS,
    retries=st.integers(0, 2**31 - 2),
    backoff=st.one_of(st.just(False), st.floats(0.001, 1e6)),
    named_s=WAITS,
    wanted=st.booleans(),
)
def test_a_retry_is_the_same_task_once_more_within_its_limit_and_its_wait(
    *,
    of_task: int | None,
    of_message: int | None,
    retries: int,
    backoff: float | bool,
    named_s: object,
    wanted: bool,
) -> None:
    class Hiccup(Exception):
        retry_after = named_s

    app = App(broker="memory://unused")

    @app.task(retry_for=(Hiccup,) if wanted else (), retry_backoff=backoff, max_retries=of_task)
    def fetch() -> None:
        raise Hiccup

    options: SendOptions = {} if of_message is None else {"max_retries": of_message}
    message = build_message(fetch.settings, (), {}, **options)
    headers = json.dumps({**json.loads(message.headers), "retries": retries}).encode()
    work = Assignment(Delivery(1, "q", "", headers, message.body))

    before = clock.now()
    reply = decode_reply(Executor(app, "w@h")(encode(work)))

    limit = of_task if of_message is None else of_message
    assert (reply.end is End.RETRIED) == (wanted and (limit is None or retries < limit))
    if reply.retry is not None and reply.end is End.RETRIED:
        again = json.loads(reply.retry.headers)
        assert (again["id"], again["retries"], reply.retry.body) == (
            message.task_id,
            retries + 1,
            message.body,
        )
        longest_s = float(LONGEST_BACKOFF_S)
        if (
            isinstance(named_s, (int, float))
            and not isinstance(named_s, bool)
            and 0 <= named_s <= 365 * 86_400
        ):
            longest_s = named_s
        assert reply.retry.due_at is not None
        assert before <= reply.retry.due_at <= clock.now() + longest_s
