"""Logging of a Celery app: its receivers may set it up; else taskd's own form stays."""

from __future__ import annotations

import logging
from typing import Any

from celery import signals
from celery.app.log import Logging
from celery.utils.log import get_logger

from taskd.base import log


def settle_root(app: Any) -> None:
    """Undo, as Celery's own set-up does, what the app's modules did to the root logger at their import.

    Does nothing for an app that receives ``setup_logging``, or whose ``worker_hijack_root_logger`` is false.
    """
    if app.conf.worker_hijack_root_logger and not signals.setup_logging.receivers:
        log.take_root_back()


def announce_logging(app: Any) -> None:
    """Call the receivers of ``setup_logging``; if there are none, those that change what stands.

    Raises: whatever a receiver of ``setup_logging`` raises, as Celery does.
    """
    # Celery would set up its own handlers at the first call of ``app.log.setup``.
    Logging._setup = True
    settle_root(app)
    facts = {
        "loglevel": logging.getLogger().level,
        "logfile": None,
        "format": app.conf.worker_log_format,
        "colorize": False,
    }
    answers = signals.setup_logging.send(sender=None, **facts)
    for _receiver, answer in answers:
        if isinstance(answer, Exception):
            raise answer
    if not answers:
        signals.after_setup_logger.send(sender=None, logger=logging.getLogger(), **facts)
        facts["format"] = app.conf.worker_task_log_format
        signals.after_setup_task_logger.send(sender=None, logger=get_logger("celery.task"), **facts)
    log.bring_back()
