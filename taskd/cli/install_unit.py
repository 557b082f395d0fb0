"""``taskctl install-unit``: lay the unit and what belongs to it, for the Python that runs this."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import click

import taskd
from taskd.base import exit_codes
from taskd.cli.doctor.facts import Who
from taskd.cli.doctor.machine import place
from taskd.cli.doctor.reach import REMEDY, SHIPPED, executed_by, unreachable
from taskd.cli.output import Failure, echo_json, json_option

#: The repository's ``systemd`` and ``etc/taskd.toml``, which the wheel carries.
_SHIPPED = Path(taskd.__file__).with_name("shipped")
_UNITS = "etc/systemd/system"
_CONFIG = "etc/taskd.toml"
_MULTI_USER = "multi-user"
# The user does not exist before the first installation; it will own nothing on the way.
_ANYBODY = Who("the user of the unit", -1)


def drop_ins() -> list[str]:
    """Return the names of the drop-ins that are shipped."""
    return sorted(path.stem for path in (_SHIPPED / "systemd/drop-ins").glob("*.conf"))


def _scripts() -> Path:
    """Return the directory of ``taskd`` and ``taskctl``."""
    beside = Path(sys.executable).parent
    return beside if (beside / "taskd").exists() else Path(sysconfig.get_path("scripts"))


def _unit(scripts: Path) -> str:
    text = (_SHIPPED / "systemd/taskd.service").read_text(encoding="utf-8")
    for name in ("taskd", "taskctl"):
        text = text.replace(f"=/usr/bin/{name} ", f"={scripts / name} ")
    return text


def _files(scripts: Path, chosen: tuple[str, ...]) -> dict[str, str]:
    """Return the texts of all files by their paths below the root."""
    shipped = _SHIPPED / "systemd"
    tmpfiles = "multi-user.conf" if _MULTI_USER in chosen else "taskd.conf"
    texts = {
        f"{_UNITS}/taskd.service": _unit(scripts),
        "etc/sysusers.d/taskd.conf": (shipped / "sysusers.d/taskd.conf").read_text(encoding="utf-8"),
        "etc/tmpfiles.d/taskd.conf": (shipped / "tmpfiles.d" / tmpfiles).read_text(encoding="utf-8"),
    }
    for name in chosen:
        text = (shipped / "drop-ins" / f"{name}.conf").read_text(encoding="utf-8")
        texts[f"{_UNITS}/taskd.service.d/{name}.conf"] = text
    return texts


@click.command("install-unit")
@click.option(
    "--drop-in",
    "chosen",
    multiple=True,
    type=click.Choice(drop_ins()),
    help="Also this drop-in; may be repeated.",
)
@click.option("--root", default="/", metavar="DIR", show_default=True, help="Write below this directory.")
@json_option
def install_unit(*, chosen: tuple[str, ...], root: str, as_json: bool) -> int:
    """Write the systemd unit, its user, its directories and an example configuration.

    The unit starts the taskd beside the Python that runs this command. The command refuses to write it
    when the unit's user could not execute that. It replaces files that exist, except the configuration.

    Example: taskctl install-unit --drop-in jit
    """
    scripts = _scripts()
    needed = [path for name in ("taskd", "taskctl") for path in executed_by(str(scripts / name))]
    faults = list(dict.fromkeys(unreachable(needed, _ANYBODY, SHIPPED, place)))
    if faults:
        raise Failure("\n  ".join(["the unit could not start this taskd:", *faults, f"expected {REMEDY}"]))
    texts = _files(scripts, chosen)
    if not os.path.exists(os.path.join(root, _CONFIG)):
        texts[_CONFIG] = (_SHIPPED / "taskd.toml").read_text(encoding="utf-8")
    for name, text in texts.items():
        path = Path(root, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o640 if name == _CONFIG else 0o644)
        except OSError as error:
            raise Failure(f"{path} cannot be written: {error.strerror}; run this as root") from error
        if not as_json:
            click.echo(f"wrote {path}")
    following = [
        "systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload",
        f"runuser -u taskd -- {scripts / 'taskd'} --config /etc/taskd.toml --check --import",
        "systemctl enable --now taskd",
    ]
    if as_json:
        echo_json({"wrote": [os.path.join(root, name) for name in texts], "next": following})
    else:
        click.echo("\n  ".join(["next:", *following]))
    return exit_codes.OK
