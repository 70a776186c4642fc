"""Events on stderr, the same in every program: a line each for people, or JSON for programs."""

import logging
import sys
from types import TracebackType

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.types import Processor

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def configure_logging(program: str, level: str = "info", form: str = "text") -> None:
    """Send structlog events to stderr, as `time level event key=value` or as one JSON object each.

    In JSON a traceback is part of its line, as `exception`, and JSON is also what libraries log,
    what Python warns of and the exception that ends the program.
    """
    form = form.lower()
    structlog.configure(
        processors=[*_SHARED, _renderer(form)],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    if form == "json":
        _take_over_libraries()
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught
    # The broker client logs every lost connection with a traceback; Link says it in one line.
    for noisy in ("aiormq", "aio_pika"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    structlog.contextvars.bind_contextvars(program=program)


def _renderer(form: str) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())


def _take_over_libraries() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[ProcessorFormatter.remove_processors_meta, _renderer("json")],
        )
    )
    logging.basicConfig(handlers=[handler])


def _log_uncaught(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    structlog.get_logger().critical("ended by an exception", exc_info=error)
