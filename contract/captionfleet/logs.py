"""One line per event on stderr, the same in every program."""

import logging
import sys
from typing import Any

import structlog


def configure_logging(program: str, level: str = "info") -> None:
    """Send structlog events to stderr as `time level program event key=value`."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # The broker client logs every lost connection with a traceback; Link says it in one line.
    for noisy in ("aiormq", "aio_pika"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    structlog.contextvars.bind_contextvars(program=program)


def get_logger() -> Any:
    return structlog.get_logger()
