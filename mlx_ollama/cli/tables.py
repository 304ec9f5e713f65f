"""Tables without lines: columns as wide as their widest cell, four blanks apart."""

import unicodedata
from collections.abc import Sequence

GAP = "    "
COLUMN_WIDTH = 30  # longer cells are wrapped at blanks
_OVERFULL = 100_000  # the cost of a line that is too long

Row = Sequence[str]


def width(text: str) -> int:
    """Columns on a terminal."""
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def table(rows: Sequence[Row], header: Row = (), limit: int = COLUMN_WIDTH) -> str:
    """Every line ends in blanks, as those of the `ollama` program do."""
    wrapped = [[wrap(cell, limit) for cell in row] for row in rows]
    widths = [width(cell) for cell in header]
    for row in wrapped:
        for column, lines in enumerate(row):
            needed = max(map(width, lines))
            if column == len(widths):
                widths.append(needed)
            widths[column] = max(widths[column], needed)
    text = GAP.join(_padded(header, widths)) + " \n" if header else ""
    return text + "".join(_row(row, widths) for row in wrapped)


def _row(cells: Sequence[list[str]], widths: Sequence[int]) -> str:
    height = max(map(len, cells), default=0)
    lines = [[cell[n] if n < len(cell) else "" for cell in cells] for n in range(height)]
    return "".join("".join(cell + GAP for cell in _padded(line, widths)) + "\n" for line in lines)


def _padded(cells: Row, widths: Sequence[int]) -> list[str]:
    return [cell + " " * (wide - width(cell)) for cell, wide in zip(cells, widths, strict=False)]


def wrap(text: str, limit: int) -> list[str]:
    """Lines of at most `limit` columns (or the longest word), so that they are as even as can be."""
    words = " ".join(text.splitlines()).split(" ")
    limit = max(limit, *map(width, words))
    lengths = [width(word) for word in words]
    costs, breaks = [0] * (len(words) + 1), [len(words)] * len(words)
    for start in reversed(range(len(words))):
        costs[start], breaks[start] = _best_break(lengths, start, limit, costs)
    lines: list[str] = []
    start = 0
    while start < len(words):
        lines.append(" ".join(words[start : breaks[start]]))
        start = breaks[start]
    return lines


def _best_break(lengths: list[int], start: int, limit: int, costs: list[int]) -> tuple[int, int]:
    """The least cost of the words from `start` on, and where their first line ends. The last line is free."""
    count = len(lengths)
    if sum(lengths[start:]) + count - start - 1 <= limit:
        return 0, count
    best: tuple[int, int] | None = None
    taken = -1
    for end in range(start + 1, count):
        taken += lengths[end - 1] + 1
        cost = (limit - taken) ** 2 + costs[end] + (_OVERFULL if taken > limit else 0)
        if best is None or cost < best[0]:
            best = (cost, end)
    return best or (0, count)
