"""`tokenizer.ggml.pre`: how each byte-level BPE family cuts text before it merges.

Names and patterns are llama.cpp's (src/llama-vocab.cpp); an unknown name is an error there and here,
since a wrong cut gives wrong tokens without any sign.
"""

from dataclasses import dataclass

from converters.errors import Unsupported


@dataclass(frozen=True, kw_only=True)
class Pretokenizer:
    patterns: tuple[str, ...]  # applied one after another, each cutting the pieces of the last
    ignores_merges: bool = False  # a piece that is a token is that token
    adds_bos: bool = False  # when the file does not say


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + REST

_gpt2 = Pretokenizer(patterns=(GPT2,))
_digits_apart = Pretokenizer(patterns=(r"\p{N}", GPT2))
_llama3 = Pretokenizer(patterns=(LLAMA3,), ignores_merges=True, adds_bos=True)
_qwen2 = Pretokenizer(patterns=(QWEN2,))
_default = Pretokenizer(patterns=(r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"))

PRETOKENIZERS: dict[str, Pretokenizer] = {
    "default": _default,
    **dict.fromkeys(["gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion"], _gpt2),
    **dict.fromkeys(
        ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        _digits_apart,
    ),
    **dict.fromkeys(["llama3", "llama-v3", "llama-bpe"], _llama3),
    **dict.fromkeys(["qwen2", "deepseek-r1-qwen", "stablelm2"], _qwen2),
}


def pretokenizer(name: str) -> Pretokenizer:
    """Raises Unsupported."""
    found = PRETOKENIZERS.get(name)
    if found is None:
        raise Unsupported(f'pre-tokenizer "{name[:64]}" is not supported yet')
    return found
