"""The certificate of a child's death says what the worker has decided about the task."""

from __future__ import annotations

import pytest

from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.child_loss import decide
from taskd.consumer.running.obituaries import fate
from taskd.pools.base import ChildLost
from taskd.protocol.delivery import Delivery
from taskd.protocol.message import TaskHeaders
from taskd.sending.forms import Acks
from taskd.sending.options import TaskOptions


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("acks", Acks)
@pytest.mark.parametrize("deaths", [0, 2])
def test_it_tells_the_fate_that_is_decided(acks: Acks, deaths: int, again: bool) -> None:
    delivery = Delivery(7, "default", "1", b"{}", b"", deaths=deaths)
    options = TaskOptions("t", "default", acks, again_when_lost=again)
    request = WorkerRequest(delivery, TaskHeaders(task="t", id="1"), options, 1)
    lost = ChildLost(7, 1, True, -1, 9)

    decided = decide(deaths, 3, lost, 7, acknowledged=request.acks_early, again=again)

    assert fate(request, lost, 3) == decided.fate
    assert ("queued again" in decided.fate) == (acks is Acks.LATE and again and deaths == 0)
