"""taskd's own programs import nothing from where they stand."""

from __future__ import annotations

import ast
import subprocess
import venv
from pathlib import Path

import pytest

import taskd
from taskd.base import exit_codes
from taskd.host.safe_python import module_command

_OWN = ["taskd.beat", "taskd.worker", "taskd.worker.template", "taskd.supervisor.output.writer"]
# gevent and eventlet patch first, so what they import first is something else.
_OWN += ["taskd.worker.gevent_entry", "taskd.execution.declarations"]


@pytest.mark.parametrize("module", _OWN)
def test_a_module_that_somebody_left_in_the_working_directory_is_not_imported(
    tmp_path: Path, module: str
) -> None:
    for name in ("logging", "runpy", "os", "taskd", "msgspec", "encodings", "sitecustomize", "signal"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'caught')!r}, 'a').write(__name__)\n")

    done = subprocess.run(
        module_command(module, "nowhere:app"),
        cwd=tmp_path,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )

    assert not (tmp_path / "caught").exists(), done.stderr
    assert done.returncode != 0, "without a supervisor it does not run"


def test_no_program_of_taskds_is_started_in_another_way() -> None:
    package = Path(taskd.__file__).parent
    starting = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in ("-m", "-c")
        if "sys.executable" in path.read_text()
    }

    assert starting == {"host/safe_python.py"}


def test_a_python_without_taskd_says_so_and_how_to_install_it(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    bare = tmp_path / "bare" / "bin" / "python"

    done = subprocess.run(
        module_command("taskd.worker.trial", "shop:app", "main", "", python=str(bare)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == exit_codes.CONFIG
    assert done.stderr == (
        f"{bare} does not have taskd, which an interpreter needs, too; "
        f"install taskd {taskd.__version__} with {bare} -m pip\n"
    )
