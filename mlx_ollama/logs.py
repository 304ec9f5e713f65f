"""Logging for the server and for a runner: one line an event, nothing secret, nothing long."""

import logging
import sys

MAX_LINE = 2048
_FORMAT = "time=%(asctime)s level=%(levelname)s source=%(name)s msg=%(message)s"


class OneLine(logging.Formatter):
    """Control characters are escaped and long messages cut, so that no text from outside can forge a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        record.message = _quoted(record.message)
        return super().formatMessage(record)


def _quoted(text: str) -> str:
    cut = text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]}…"
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return '"' + escaped.replace('"', '\\"') + '"'


def configure(*, debug: bool) -> None:
    """Log to standard error. Debug never holds prompts or answers either."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S%z"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler])
    for name in ("uvicorn", "asyncio", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
