"""What can be wrong with a source. The text of each is meant for the user.

SourceError
├── InvalidSource        malformed or hostile bytes: `invalid GGUF: …`
├── MissingPart          a shard, or one of the split files, is not there
├── Unsupported          a good file of a kind that we do not convert (yet)
└── NoRoom               the result does not fit on the disk
"""


class SourceError(Exception):
    """Its text is what the user reads: lower case, no path, no traceback."""


class InvalidSource(SourceError):
    """Bytes that break the rules of their format."""


class MissingPart(SourceError):
    """A shard, or one of the split files, is not there."""


class Unsupported(SourceError):
    """A good file of a kind that we do not convert (yet)."""


class NoRoom(SourceError):
    """The result does not fit on the disk."""


def unsupported_architecture(name: str) -> Unsupported:
    return Unsupported(f'architecture "{name}" is not supported yet')
