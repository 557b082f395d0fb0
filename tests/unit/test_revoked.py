"""The set of revoked ids and its limits."""

from __future__ import annotations

from taskd.consumer.revoked import RevokedIds


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
