"""The methods of the control socket: what taskctl can ask of a running daemon."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping

from taskd.base.errors import ControlError
from taskd.supervisor.control.about import About
from taskd.supervisor.control.daemon_orders import DaemonOrders
from taskd.supervisor.control.server import Method, Params
from taskd.supervisor.model.roster import BEAT
from taskd.supervisor.programs.fleet import Fleet
from taskd.supervisor.scaling.scaler import Scaler

_log = logging.getLogger(__name__)

# As many as ``processes`` of the configuration allows.
_MOST_PROCESSES = 1000


class Methods:
    """Answers the control socket; every method returns at once.

    Commands say what is wanted and can be repeated: one that comes while another is under way is
    carried out after it, and none is refused because taskd is busy.  ``changed`` is called when what
    is wanted has changed.
    """

    def __init__(
        self,
        fleet: Fleet,
        scaler: Scaler,
        orders: DaemonOrders,
        about: About,
        *,
        changed: Callable[[], None],
    ) -> None:
        self._fleet = fleet
        self._scaler = scaler
        self._orders = orders
        self._about = about
        self._changed = changed

    def table(self) -> Mapping[str, Method]:
        """Return the methods by their names on the wire."""
        return {
            "status": lambda _params: self._about.state(),
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "roll": self._roll,
            "scale": self._scale,
            "signal": self._signal,
            "shutdown": self._shutdown,
            "autoscale": self._autoscale,
            "reload": lambda _params: self._orders.reload("an operator asked"),
            "plan": lambda _params: self._orders.plan(),
        }

    def _autoscale(self, _params: Params) -> object:
        return {"groups": self._scaler.explain(), "load": self._scaler.recording.lines()}

    def _start(self, params: Params) -> object:
        return self._command(params, "start")

    def _stop(self, params: Params) -> object:
        return self._command(params, "stop")

    def _restart(self, params: Params) -> object:
        return self._command(params, "restart")

    def _command(self, params: Params, verb: str) -> object:
        """Apply the verb to the programs that ``name`` means, and return their rows as they are then."""
        if self._orders.shutdown.is_under_way:
            raise ControlError("taskd is stopping; nothing is started or restarted any more")
        chosen = self._fleet.named(params.get("name"))
        for program in chosen:
            reason = f"an operator asked: {verb}"
            _log.info("program=%s %s", program.spec.name, reason)
            if verb == "restart":
                program.restart(reason)
            else:
                program.want(wanted=verb == "start", reason=reason)
            program.reconcile()
        self._changed()
        return {"programs": [program.row() for program in chosen]}

    def _roll(self, params: Params) -> object:
        """Replace the programs that ``name`` means one after the other; return their rows as they are now."""
        if self._orders.shutdown.is_under_way:
            raise ControlError("taskd is stopping; nothing is replaced any more")
        chosen = self._fleet.named(params.get("name"))
        _log.info("rolling restart of %s", ", ".join(program.spec.name for program in chosen))
        self._fleet.roll(chosen, reason="an operator asked: rolling restart")
        self._changed()
        return {"programs": [program.row() for program in chosen]}

    def _scale(self, params: Params) -> object:
        """Set the number of programs of a worker until a reload; the same number again changes nothing."""
        if self._orders.shutdown.is_under_way:
            raise ControlError("taskd is stopping; nothing is scaled any more")
        name = params.get("name")
        count = params.get("processes")
        group = self._fleet.group(name) if isinstance(name, str) else None
        if group is None:
            known = ", ".join(each.name for each in self._fleet.groups()) or "none"
            raise ControlError(f"no worker {name!r} (a single program cannot be scaled); there are: {known}")
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _MOST_PROCESSES:
            raise ControlError(f"processes is {count!r}; expected 1 to {_MOST_PROCESSES} (0: taskctl stop)")
        if self._scaler.follows_load(group.name):
            raise ControlError(
                f"{group.name} follows its load: change min_processes and processes in the file, and reload"
            )
        if group.name == BEAT:
            raise ControlError("beat is one process: two would only wait for each other")
        if count != group.size.count:
            _log.info("group=%s processes=%s, before %s", group.name, count, group.size.count)
            group.resize(count, reason=f"an operator asked: scale to {count}")
            self._changed()
        return {"group": group.name, "processes": count}

    def _signal(self, params: Params) -> object:
        """Send a signal to the main process of each program that ``name`` means."""
        signum = _signal_named(params.get("signal"))
        chosen = self._fleet.named(params.get("name"))
        reached = []
        for program in chosen:
            if program.poke(signum):
                _log.info("program=%s %s sent by an operator", program.spec.name, signum.name)
                reached.append(program.row())
        if not reached:
            states = ", ".join(f"{program.spec.name} is {program.state.value}" for program in chosen)
            raise ControlError(f"no process to send {signum.name} to: {states}")
        return {"programs": reached}

    def _shutdown(self, params: Params) -> object:
        cold = params.get("cold", False)
        if not isinstance(cold, bool):
            raise ControlError(f"shutdown: cold is {cold!r}; expected true or false")
        self._orders.request_shutdown(cold=cold)
        return self._about.row()


def _signal_named(name: object) -> signal.Signals:
    """Return the signal that ``USR1``, ``SIGUSR1``, ``usr1`` or ``10`` means.  Raises: ``ControlError``."""
    text = str(name).upper()
    try:
        if text.isdigit():
            return signal.Signals(int(text))
        return signal.Signals["SIG" + text.removeprefix("SIG")]
    except (ValueError, KeyError):
        raise ControlError(
            f"there is no signal {name!r}; expected a name such as TERM, USR1 or HUP, or its number"
        ) from None
