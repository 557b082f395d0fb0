"""What workers let others do over the broker: [security]."""

from __future__ import annotations

from dataclasses import dataclass

from taskd.config.option import Kind, option


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    """[security]: whoever can write to the broker can command its workers; here less can be allowed."""

    remote_control: str = option(
        Kind.CHOICE,
        'Remote control that workers accept over the broker: "all", "read" (questions alone) or "off". '
        "Workers say what they refuse.",
        default="all",
        choices=("off", "read", "all"),
    )
