"""What is revoked, and the limits of remembering it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.protocol.message import TaskHeaders, decode_headers
from taskd.revocations.known import KEEP_S, By, Revocations, RevokedIds


def test_an_added_id_is_a_member() -> None:
    revoked = RevokedIds()
    revoked.add(["a"], now=1.0)

    assert "a" in revoked
    assert "b" not in revoked


def test_ids_are_forgotten_after_their_time() -> None:
    revoked = RevokedIds(keep_s=10.0)
    revoked.add(["old"], now=0.0)
    revoked.add(["new"], now=9.0)

    assert revoked.ids(now=10.5) == ["new"]


def test_beyond_the_limit_the_oldest_goes() -> None:
    revoked = RevokedIds(max_ids=2)
    revoked.add(["a", "b", "c"], now=1.0)

    assert revoked.ids(now=1.0) == ["b", "c"]


def test_revoking_again_makes_an_id_young() -> None:
    revoked = RevokedIds(keep_s=10.0)
    revoked.add(["a"], now=0.0)
    revoked.add(["b"], now=5.0)
    revoked.add(["a"], now=8.0)

    assert revoked.ids(now=16.0) == ["a"]


def headers(task: str = "shop.add", task_id: str = "id-1", **stamps: object) -> TaskHeaders:
    data = {"task": task, "id": task_id, "stamped_headers": list(stamps) or None, "stamps": stamps}
    return decode_headers(json.dumps(data).encode())


def test_nothing_is_covered_before_something_is_revoked() -> None:
    assert not Revocations().covers(headers(tenant="acme"))


@pytest.mark.parametrize(
    ("kind", "what"),
    [(By.ID, "id-1"), (By.NAME, "shop.add"), (By.STAMP, "tenant=acme")],
)
def test_a_task_is_covered_by_its_id_its_name_or_a_stamp(kind: By, what: str) -> None:
    revocations = Revocations()
    revocations[kind].add([what], now=1.0)

    assert revocations.covers(headers(tenant="acme"))
    assert not revocations.covers(headers("shop.sub", "id-2", tenant="other"))


def test_a_revoked_name_is_forgotten_after_its_time() -> None:
    revocations = Revocations()
    revocations[By.NAME].add(["shop.add"], now=1.0)
    revocations.forget(now=KEEP_S)
    assert revocations.covers(headers())

    revocations.forget(now=KEEP_S + 1.0)
    assert not revocations.covers(headers())


def test_a_stamp_with_several_values_is_covered_by_each() -> None:
    revocations = Revocations()
    revocations[By.STAMP].add(["tenant=b"], now=1.0)

    assert revocations.covers(headers(tenant=["a", "b"]))
    assert not revocations.covers(headers(tenant=["a", "c"]))


def test_stamps_that_are_announced_and_missing_cover_nothing() -> None:
    revocations = Revocations()
    revocations[By.STAMP].add(["tenant=None"], now=1.0)

    lying = decode_headers(b'{"task": "t", "id": "i", "stamped_headers": ["tenant"], "stamps": null}')
    assert not revocations.covers(lying)


def test_what_is_discarded_is_not_a_member_any_more() -> None:
    revoked = RevokedIds()
    revoked.add(["a", "b"], now=1.0)
    revoked.discard(["a", "unknown"])

    assert revoked.ids(now=1.0) == ["b"]


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0.0, 9.0)), max_size=60),
    st.integers(1, 6),
)
def test_the_set_holds_the_youngest_within_both_limits(added: list[tuple[str, float]], most: int) -> None:
    revoked = RevokedIds(max_ids=most, keep_s=20.0)
    now, last = 0.0, {}
    for each, pause_s in added:
        now += pause_s
        revoked.add([each], now)
        last[each] = now

    young = sorted((at, each) for each, at in last.items() if at + 20.0 > now)
    assert len(revoked.ids(now)) <= most
    assert set(revoked.ids(now)) <= {each for _, each in young}
    if young and len(young) <= most:
        assert set(revoked.ids(now)) == {each for _, each in young}
