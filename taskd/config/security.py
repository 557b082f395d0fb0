"""The table [security]: the remote control that workers accept over the broker."""

from __future__ import annotations

from dataclasses import dataclass

from taskd.config.option import ValueForm, option


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    """[security]: everybody who can write to the broker can command its workers; here you allow less."""

    remote_control: str = option(
        ValueForm.CHOICE,
        'Remote control that workers accept over the broker: "all", "read" (questions alone) or "off". '
        "Workers say what they refuse.",
        default="all",
        choices=("off", "read", "all"),
    )
