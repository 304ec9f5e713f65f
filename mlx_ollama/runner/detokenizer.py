"""Token ids to text that is whole UTF-8, a token at a time.

A character split over tokens is held back until it is complete; bytes that can never be one become U+FFFD.
"""

import codecs

_decoder = codecs.getincrementaldecoder("utf-8")


class Detokenizer:
    """One answer's decoder. Bytes of an unfinished last character are not text and never come out."""

    def __init__(self) -> None:
        self._utf8 = _decoder("replace")

    def add(self, piece: bytes) -> str:
        """The text that has become whole with this token's bytes."""
        return self._utf8.decode(piece)


def whole_text(pieces: list[bytes]) -> str:
    """The text of a finished list of tokens."""
    return Detokenizer().add(b"".join(pieces))
