"""An error to a status and a body: the only place that knows HTTP statuses of errors."""

import logging

from mlx_ollama import errors
from mlx_ollama.api.ollama import ErrorResponse
from mlx_ollama.server.replies import JSON, Reply, json_reply

logger = logging.getLogger(__name__)

# The first that fits; a subclass stands before its base.
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.InvalidRequest, 400),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.TooLarge, 413),
    (errors.Busy, 503),
    (errors.Canceled, 499),
    (errors.MlxOllamaError, 500),
)


def status_of(error: Exception) -> int:
    """The status of an answer that is nothing but this error."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def text_of(error: Exception) -> str:
    """What the client reads. What we did not foresee goes to the log and is not told."""
    if isinstance(error, errors.MlxOllamaError):
        return str(error)
    logger.error("unexpected error", exc_info=error)
    return "internal server error"


def failure(error: Exception, *, media: bytes = JSON) -> Reply:
    """The whole answer for an error before anything was sent."""
    status = status_of(error)
    headers = [(b"retry-after", b"1")] if status == 503 else []
    body = ErrorResponse(error=text_of(error))
    return json_reply(body, status=status, media=media, headers=headers)
