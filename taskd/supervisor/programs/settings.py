"""The settings of one program in one revision of the configuration: its table, else ``[supervisor]``."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from taskd.base.backoff import Backoff
from taskd.config.daemon import SupervisorConfig
from taskd.config.programs import ProgramConfig
from taskd.supervisor.model.restart import RestartPolicy
from taskd.supervisor.model.roster import ProgramSpec
from taskd.supervisor.model.stopping import StopPolicy
from taskd.supervisor.process.spawn import Process
from taskd.supervisor.process.streams import Streams
from taskd.supervisor.programs.life import SilenceLimits

T = TypeVar("T", int, float)


@dataclass(frozen=True, slots=True)
class Settings:
    """``spec`` and ``spawn`` are for its next start, the others are in force at once.

    ``revision``: the number of the one that they come from.
    """

    revision: int
    spec: ProgramSpec
    spawn: Callable[[ProgramSpec, Streams], Process]
    restart: RestartPolicy
    stop: StopPolicy
    limits: SilenceLimits


def settings_of(
    revision: int,
    spec: ProgramSpec,
    common: SupervisorConfig,
    spawn: Callable[[ProgramSpec, Streams], Process],
) -> Settings:
    """Return the settings of a program; ``common`` decides what its own table leaves open."""
    return Settings(revision, spec, spawn, _restart(spec, common), _stop(spec, common), _limits(spec, common))


def _restart(spec: ProgramSpec, common: SupervisorConfig) -> RestartPolicy:
    own = spec.process
    first = _first(own.restart_delay, common.restart_delay)
    return RestartPolicy(
        intensity=_first(own.restart_intensity, common.restart_intensity),
        period_s=_first(own.restart_period, common.restart_period),
        backoff=Backoff(first, _first(own.restart_delay_max, common.restart_delay_max)),
        when=own.restart,
    )


def _stop(spec: ProgramSpec, common: SupervisorConfig) -> StopPolicy:
    own = spec.process
    warm_s = _first(own.stop_timeout, common.stop_timeout)
    if isinstance(own, ProgramConfig):
        warm = signal.Signals[f"SIG{own.stop_signal}"]
        return StopPolicy(warm_s, own.kill_timeout, warm_signal=warm, cold_signal=signal.SIGKILL)
    return StopPolicy(warm_s, own.kill_timeout)


def _limits(spec: ProgramSpec, common: SupervisorConfig) -> SilenceLimits:
    silence_s = 0.0 if spec.is_silent else common.heartbeat_timeout
    return SilenceLimits(
        _first(spec.process.start_timeout, common.start_timeout),
        silence_s,
        spiral_kills=common.spiral_kills,
        spiral_period_s=common.spiral_period,
    )


def _first(own: T | None, common: T) -> T:
    return common if own is None else own
