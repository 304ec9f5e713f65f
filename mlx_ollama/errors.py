"""What can go wrong, as exceptions. HTTP statuses live in `server/failures.py`, not here.

MlxOllamaError
├── InvalidRequest          the request is wrong and will stay wrong
│   ├── InvalidName         not a model name
│   ├── InvalidDigest       not a sha256 digest
│   └── MissingCapability   the model cannot do what is asked
├── Forbidden               what this server does for nobody
├── NotFound                a model, blob or file that is not here
├── TooLarge                a body or value over its stated limit
├── Busy                    the queue is full, or memory is
├── Canceled                whoever asked has gone
├── LoadFailed              a model that could not be loaded
├── RunnerStopped           the runner ended before its answer did
├── CorruptData             bytes on disk that are not what they should be
├── StoreUnwritable         the store is full or read-only
└── UpstreamError           a registry or hub that failed us
"""

import msgspec

NOT_JSON = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What msgspec raises for JSON that others wrote: nesting and broken UTF-8 have exceptions of their own."""


class MlxOllamaError(Exception):
    """Its text is what the client reads: lower case, no path, no traceback."""


class InvalidRequest(MlxOllamaError):
    """The request is wrong and will stay wrong."""


class InvalidName(InvalidRequest):
    """Not a model name."""

    def __init__(self, message: str = "invalid model name") -> None:
        super().__init__(message)


class InvalidDigest(InvalidRequest):
    """Not a sha256 digest."""

    def __init__(self, message: str = "invalid digest format") -> None:
        super().__init__(message)


class MissingCapability(InvalidRequest):
    """The model cannot do what is asked."""


class Forbidden(MlxOllamaError):
    """What this server does for nobody."""


class NotFound(MlxOllamaError):
    """A model, blob or file that is not here."""


class TooLarge(MlxOllamaError):
    """A body or value over its stated limit."""


class Busy(MlxOllamaError):
    """The queue is full, or memory is."""


class Canceled(MlxOllamaError):
    """Whoever asked has gone."""


class LoadFailed(MlxOllamaError):
    """A model that could not be loaded."""


class RunnerStopped(MlxOllamaError):
    """The runner ended before its answer did."""


class CorruptData(MlxOllamaError):
    """Bytes on disk that are not what they should be."""


class StoreUnwritable(MlxOllamaError):
    """The store is full or read-only."""


class UpstreamError(MlxOllamaError):
    """A registry or hub that failed us."""
