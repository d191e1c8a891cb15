"""Logging as the original's adapters set it up.

Owns the level, from `SNAKEPIT_LOG_LEVEL`. What is logged goes to standard error, which the host
reads line by line.
"""

from __future__ import annotations

import logging
import os

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 10,
}


def configure_logging(level: str | None = None, force: bool = False) -> None:
    """Sets the level of everything that is logged.

    Args:
        level: `debug`, `info`, `warning`, `error`, `critical` or `none`; that of the environment,
            or `error`, by default.
        force: Whether an earlier set-up is replaced.
    """
    name = (level or os.environ.get("SNAKEPIT_LOG_LEVEL", "error")).strip().lower()
    logging.basicConfig(
        level=_LEVELS.get(name, logging.ERROR),
        format="%(asctime)s - %(name)s - %(levelname)s - %(message)s",
        force=force,
    )


def get_logger(name: str) -> logging.Logger:
    """Returns the logger of that name."""
    return logging.getLogger(name)
