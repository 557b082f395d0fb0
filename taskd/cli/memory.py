"""The memory of a program as every table of taskctl shows it."""

from __future__ import annotations

from taskd.cli.output import size
from taskd.host import procinfo
from taskd.supervisor.model.rows import ProgramRow


def memory(row: ProgramRow) -> str:
    """Return the fair share of memory where this user may see it, else what the program reported."""
    pss_bytes = 0 if row.pid is None else procinfo.tree_pss_bytes(row.pid)
    if pss_bytes:
        return size(pss_bytes)
    return f"{size(row.rss_bytes)} RSS" if row.rss_bytes else ""
