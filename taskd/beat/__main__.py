"""``python -m taskd.beat``: the beat program, as the supervisor starts it.

Takes its configuration and its status descriptor from the environment.  TERM, INT and QUIT all stop
it at once: what it sends is sent whole or not at all, and there is nothing to drain.  HUP says that
the configuration has changed in what a beat takes over while it goes on: its entries and the log level.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import traceback
from collections.abc import Collection

from taskd.base import exit_codes, ids, log
from taskd.base.errors import ConfigError
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop, Owner
from taskd.base.program_signals import ignore_from_now_on
from taskd.beat.app_source import AppSource, places_of
from taskd.beat.service import Beat
from taskd.beat.stores.factory import open_store
from taskd.beat.surroundings import BeatSurroundings
from taskd.brokers import factory
from taskd.config import transfer
from taskd.config.schema import Config
from taskd.host import proctitle
from taskd.program.bond import Reporter, die_with_supervisor, show_stacks
from taskd.protocol.status import Draining

logger = logging.getLogger(__name__)

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}


def main() -> int:
    """Run beat until a signal; return the exit status, having told the supervisor why if not 0."""
    die_with_supervisor()
    show_stacks()
    reporter = Reporter()
    try:
        inherited = transfer.Inherited()
        config = inherited.config
        log.setup(config.log.level, config.log.format, program="beat")
        proctitle.set_title(ids.node_name("beat"))
        _run(inherited, reporter)
    except Exception as error:  # noqa: BLE001 - the barrier of this program: its last words are wanted
        sys.stderr.write(traceback.format_exc())
        reporter.last_words(f"{type(error).__name__}: {error}", traceback.format_exc())
        return exit_codes.CONFIG if isinstance(error, ConfigError) else exit_codes.FAILURE
    finally:
        ignore_from_now_on()
    return exit_codes.OK


def _run(inherited: transfer.Inherited, reporter: Reporter) -> None:
    config = inherited.config
    # An unforeseen error is in the log; beat's own looks have an owner that tells the supervisor, too.
    loop = Loop(Owner("one call of beat", lambda _why: None, again=True))
    stopping: list[int] = []
    reporter.attach(loop, on_gone=lambda: stopping.append(signal.SIGTERM))

    def on_signal(number: int) -> None:
        if number != signal.SIGHUP:
            stopping.append(number)
        elif changed := _latest(inherited):
            log.set_level(changed.log.level)
            beat.reread(changed.beat.schedule)

    def tell_apps(names: Collection[str]) -> None:
        apps.ran(names)

    loop.watch_signals(STOP_SIGNALS | {signal.SIGHUP}, on_signal)
    surroundings = BeatSurroundings(
        connect=lambda: factory.connect(config.broker, config.stores),
        open_store=lambda: open_store(config, listens=True),
        report=reporter.report,
        ran=tell_apps,
    )
    beat = Beat(loop, config.beat.schedule, surroundings)
    apps = AppSource(loop, places_of(config) if config.beat.read_app else [], beat.learn)
    beat.start()
    gc.freeze()  # the entries stay: later collections need not look at them
    apps.start()
    while not stopping:
        loop.run_once()
    reporter.report(Draining(left=0))
    at_once = Deadline.after(0.0)
    apps.stop(at_once)
    beat.stop(at_once)
    reporter.close()
    loop.close()


def _latest(inherited: transfer.Inherited) -> Config | None:
    """Return the configuration as a reload has changed it; None after logging that it cannot be read."""
    try:
        return inherited.latest()
    except ConfigError as error:
        logger.error("changed settings were not taken over: %s", error)
        return None


if __name__ == "__main__":
    sys.exit(main())
