"""harmony: the format of gpt-oss. `think` changes nothing; the model always says what a message is."""

from mlx_ollama.parsers.builtin.builtin import Builtin, Start
from mlx_ollama.parsers.harmony import PRESERVED_TOKENS, Harmony, Header, rename_tools


def first_header(start: Start) -> Header | None:
    """The message that the prompt left open for an assistant's to be continued."""
    last = start.last_message
    if last is None or last.role != "assistant" or not (last.content or last.thinking):
        return None
    return Header("assistant", "final" if last.content else "analysis")


def _make(start: Start) -> Harmony:
    return Harmony(first_header(start), rename_tools(start.tools)[1])


NAMES = {"harmony": Builtin(make=_make, has_thinking=True, preserved_tokens=PRESERVED_TOKENS)}
