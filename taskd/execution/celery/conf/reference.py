"""The table of Celery's settings in docs/celery.md, written from the verdicts.

``python -m taskd.execution.celery.conf.reference`` prints it.  With ``--write PAGE`` it goes into the
page, which a test compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby

from taskd.execution.celery.conf.settings import BACKENDS, VERDICTS, SettingFate, SettingVerdict

BEGIN = "<!-- Written by `python -m taskd.execution.celery.conf.reference`; do not edit. -->"
END = "<!-- The end of what is written. -->"


def settings_table() -> str:
    """Return the table as Markdown, between the lines that mark it."""
    rows = [BEGIN, "", "| settings | here | more |", "|---|---|---|"]
    for fate in SettingFate:
        of_fate = [each for each in VERDICTS.values() if each.fate is fate]
        for said, verdicts in groupby(of_fate, key=lambda each: each.said):
            rows.append(f"| {_names(verdicts)} | {fate.value} | {said} |")
        if fate is SettingFate.SLOT:
            rows += [f"| {_families()} | {fate.value} | each belongs to one result backend |"]
    return "\n".join([*rows, "", END])


def _names(verdicts: Iterator[SettingVerdict]) -> str:
    return ", ".join(f"`{each.setting}`" for each in verdicts)


def _families() -> str:
    return ", ".join(f"`{prefix}*`" for prefix in BACKENDS)


def renewed(page: str) -> str:
    """Return a page with the table of this code in the place of the one that it has."""
    before, _, rest = page.partition(BEGIN)
    return before + settings_table() + rest.partition(END)[2]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        with open(sys.argv[2], encoding="utf-8") as file:
            text = renewed(file.read())
        with open(sys.argv[2], "w", encoding="utf-8") as file:
            file.write(text)
    else:
        sys.stdout.write(settings_table() + "\n")
