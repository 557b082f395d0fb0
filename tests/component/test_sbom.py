"""The bill of materials has what runs, with its versions, and not what only developers need."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_bill_of_materials_names_what_runs() -> None:
    done = subprocess.run(
        [ROOT / "scripts/sbom", sys.executable], capture_output=True, text=True, timeout=60, check=True
    )

    bill = json.loads(done.stdout)
    versions = {each["name"]: each["version"] for each in bill["components"]}
    assert bill["metadata"]["component"]["name"] == "taskd"
    assert versions["kombu"] == metadata.version("kombu")
    assert "vine" in versions, "what libraries need is in it"
    assert "mypy" not in versions
    known = {each["ref"] for each in bill["dependencies"]}
    assert {one for each in bill["dependencies"] for one in each["dependsOn"]} <= known
