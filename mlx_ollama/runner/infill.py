"""Fill in the middle with the tokens that a vocabulary has for it."""

from collections.abc import Collection

from msgspec import Struct

from mlx_ollama.prompt.conversation import Conversation


class Infill(Struct, frozen=True, kw_only=True):
    """Three marks; with `suffix_first` what follows the gap stands in front."""

    prefix: str
    suffix: str
    middle: str = ""
    suffix_first: bool = False

    def render(self, conversation: Conversation) -> str:
        """The text before the gap and after it, between the marks."""
        before = self.prefix + conversation.prompt
        after = self.suffix + conversation.suffix
        return (after + before if self.suffix_first else before + after) + self.middle


_BEGIN, _HOLE, _END = (f"<\uff5cfim\u2581{part}\uff5c>" for part in ("begin", "hole", "end"))
# In the order of looking: Qwen and CodeGemma, StarCoder and Granite, DeepSeek, Codestral, Code Llama.
FORMATS = (
    Infill(prefix="<|fim_prefix|>", suffix="<|fim_suffix|>", middle="<|fim_middle|>"),
    Infill(prefix="<fim_prefix>", suffix="<fim_suffix>", middle="<fim_middle>"),
    Infill(prefix=_BEGIN, suffix=_HOLE, middle=_END),
    Infill(prefix="[PREFIX]", suffix="[SUFFIX]", suffix_first=True),
    Infill(prefix="\u2581<PRE>", suffix="\u2581<SUF>", middle="\u2581<MID>"),
)


def infill_format(vocabulary: Collection[str]) -> Infill | None:
    """The format whose marks a vocabulary has all of."""
    for known in FORMATS:
        marks = (known.prefix, known.suffix, known.middle)
        if all(mark in vocabulary for mark in marks if mark):
            return known
    return None
