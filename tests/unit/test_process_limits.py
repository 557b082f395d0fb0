"""Which limit refuses a fork."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskd.host.process_limits import used_up


@pytest.mark.parametrize(
    ("membership", "mount"),
    [("0::/a.slice/b.service", ""), ("12:pids:/a.slice/b.service\n0::/other", "pids")],
)
def test_the_group_whose_limit_is_used_up_is_named_with_the_remedy(
    membership: str, mount: str, tmp_path: Path
) -> None:
    group = tmp_path / "sys/fs/cgroup" / mount / "a.slice/b.service"
    group.mkdir(parents=True)
    for directory, most, now in ((group, "max", 10), (group.parent, "10", 10)):
        (directory / "pids.max").write_text(f"{most}\n")
        (directory / "pids.current").write_text(f"{now}\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(membership)

    assert used_up(tmp_path) == (
        "pids.max = 10 of the cgroup /a.slice is used up: raise it by TasksMax= of the unit, "
        "or --pids-limit of the container"
    )


def test_nothing_to_be_read_is_no_fault(tmp_path: Path) -> None:
    assert used_up(tmp_path) == "no limit of processes is used up any more"
