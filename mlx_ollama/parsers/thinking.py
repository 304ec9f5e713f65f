"""The thinking part of an answer, between two tags."""

from mlx_ollama.parsers.reader import Format, Steps


def read_thinking(
    parser: Format, opening: str, closing: str, *, inside: bool = False
) -> Steps[None]:
    """Thinking, if the reply begins with it; `inside` when the prompt has opened it already.

    White space around the opening tag and after the closing one is dropped (contract 8.5); without an opening
    tag everything is left to whoever reads on.
    """
    reader = parser.reader
    parser.is_thinking = True
    blanks = yield from reader.run()
    opened = yield from reader.prefix(opening)
    if opened or inside:
        yield from reader.run()
        yield from read_opened_thinking(parser, closing, trim=False)
    else:
        reader.content(blanks)
    parser.is_thinking = False


def read_opened_thinking(
    parser: Format,
    closing: str,
    *,
    calls: tuple[str, ...] = (),
    trim: bool = True,
    drop: bool = False,
) -> Steps[None]:
    """Thinking that has begun, to its closing tag or to the beginning of a call, which is left to be read.

    With `trim` white space before the end is dropped; that after the closing tag always is. With `drop`, for
    who did not ask for it, so is the thinking.
    """
    reader = parser.reader
    parser.is_thinking = True
    tag = yield from reader.until(
        closing, *calls, sink=reader.drop if drop else reader.thinking, trim=trim, keep_blank=False
    )
    if tag in calls:
        reader.put_back(tag)
    else:
        yield from reader.run()
    parser.is_thinking = False


def skip_opening(parser: Format, opening: str, *, keep_blanks: bool = True) -> Steps[None]:
    """Of a reply inside the thinking: drop an opening tag all the same, with the white space around it.

    Without a tag the white space is thinking, if `keep_blanks`.
    """
    reader = parser.reader
    parser.is_thinking = True
    blanks = yield from reader.run()
    if (yield from reader.prefix(opening)):
        yield from reader.run()
    elif keep_blanks:
        reader.put_back(blanks)
