"""A figure of a program is declared once and reaches everybody who shows it."""

from __future__ import annotations

import msgspec

from taskd.protocol.status import Activity, Figures, Heartbeat, decode_line, encode_line, fields_of
from taskd.supervisor.deaths.certificate import Certificate
from taskd.supervisor.model.rows import ProgramRow

BUSY = Heartbeat(busy=2, reserved=3, depth=4, done=7, oldest_s=1.5, failed=1, rss_bytes=9, mean_s=0.1)


def test_a_row_has_every_figure_of_the_heartbeat_as_it_came_over_the_descriptor() -> None:
    heard = decode_line(encode_line(BUSY).rstrip())
    assert isinstance(heard, Heartbeat)

    row = ProgramRow(name="a-1", kind="worker", state="READY", wanted=True, **fields_of(heard, Figures))

    shown = msgspec.to_builtins(row)
    assert {name: shown[name] for name in Figures.__struct_fields__} == {
        "busy": 2, "reserved": 3, "depth": 4, "done": 7, "oldest_s": 1.5, "failed": 1, "rss_bytes": 9,
    }  # fmt: skip


def test_a_certificate_has_each_figure_that_is_meant_for_it() -> None:
    certificate = Certificate(program="a-1", **fields_of(BUSY, Activity))

    assert fields_of(BUSY, Activity) == {
        name: getattr(certificate, name) for name in Activity.__struct_fields__
    }
    assert msgspec.json.encode(certificate).startswith(b'{"program":'), "by which the register knows its file"


def test_the_row_of_a_program_has_the_keys_that_readers_know() -> None:
    row = ProgramRow(name="a-1", kind="worker", state="READY", wanted=True, revision=2)

    keys = set(msgspec.to_builtins(row))

    assert keys == {
        "name", "kind", "state", "wanted", "spare", "reason", "since", "for_s", "pid", "restarts", "busy",
        "reserved", "depth", "done", "failed", "rss_bytes", "oldest_s", "detail", "alarm", "troubles",
        "generation",
    }  # fmt: skip
    assert msgspec.to_builtins(row)["generation"] == 2
