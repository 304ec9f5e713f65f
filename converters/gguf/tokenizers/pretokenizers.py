"""`tokenizer.ggml.pre`: how each byte-level BPE family cuts text before it merges.

Names are llama.cpp's (src/llama-vocab.cpp); patterns are those of the models' own tokenizers. An unknown name
is an error there and here, since a wrong cut gives wrong tokens without any sign.
"""

from dataclasses import dataclass, replace

from converters.errors import Unsupported


@dataclass(frozen=True, kw_only=True)
class Pretokenizer:
    patterns: tuple[str, ...]  # applied one after another, each cutting the pieces of the last
    ignores_merges: bool = False  # a piece that is a token is that token
    adds_bos: bool = False  # when the file does not say


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PUNCTUATED = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+"
)
CJK = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
DIGITS_FROM_THE_RIGHT = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"


def _any(*alternatives: str) -> str:
    return "|".join(alternatives)


def _cased(after: str = "") -> str:
    """A word by its capitals: HelloWorld is two."""
    lead = r"[^\r\n\p{L}\p{N}]?"
    return f"{lead}{UPPER}*{LOWER}+{after}|{lead}{UPPER}+{LOWER}*{after}"


LLAMA3 = _any(CONTRACTIONS, WORD, r"\p{N}{1,3}", SYMBOLS, SPACES)
QWEN2 = _any(CONTRACTIONS, WORD, r"\p{N}", SYMBOLS, SPACES)
QWEN35 = _any(
    CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
    r"\p{N}",
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
    SPACES,
)
SYMBOLS_OR_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
GPT4O = _any(_cased(f"{CONTRACTIONS}?"), r"\p{N}{1,3}", SYMBOLS_OR_SLASH, SPACES)
TEKKEN = _any(_cased(), r"\p{N}", SYMBOLS_OR_SLASH, SPACES)
YOUTU = _any(_cased(f"{CONTRACTIONS}?"), r"\p{N}", SYMBOLS_OR_SLASH, SPACES)
DEEPSEEK3 = _any(PUNCTUATED + r"[\r\n]*", SPACES)
SPARK = _any(PUNCTUATED, r"[\r\n]|\s+(?!\S)|\s+")
BAILING = _any(r"'(?i:[sdmt]|ll|ve|re)", WORD, r"\p{N}", SYMBOLS, r"\s*[\r\n]|\s+(?!\S)|\s+")
SEED = _any(CONTRACTIONS, WORD, r"\p{N}{1}", r" ?[^\s\p{L}\p{N}\r\n]+", SPACES)
EXAONE_MOE = _any(
    CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+",
    r"\p{N}",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]?",
    r"\s*[\r\n]|\s+(?!\S)|\s+",
)
JAIS2 = _any(
    CONTRACTIONS,
    WORD,
    r"\p{N}{1,3}",
    SYMBOLS,
    r"\s*[\r\n]+",
    *(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)),
    r"\s{1,2}(?!\S)|\s{1}",
)
BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
DEEPSEEK_LLM = (
    "[\r\n]",
    "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295"
    "-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-"
    "\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5"
    "\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-"
    "\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-"
    "\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-"
    "\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-"
    "\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e"
    "\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-"
    "\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17"
    "\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-"
    "\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-"
    "\U0001e943]+",
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
    "\\s+$",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
    "\\p{N}+",
)
DEEPSEEK_CODER = ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_LLM[4], r"\p{N}")
CHAMELEON = (
    r"<sentinel:[0-9]+>",
    r"(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
    r"([\t\n]|    |  )",
    r"\p{N}",
    r"[\p{P}!-/:-@\[-`{-~]",
    GPT2,
)
AFMOE_SCRIPTS = (
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0eff"
    "\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+"
)
YOUTU_SCRIPTS = (
    "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
    "|[\u3105-\u312f]+|" + CJK
)
DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]")


def _cut(*patterns: str) -> Pretokenizer:
    return Pretokenizer(patterns=patterns)


def _named(names: str, pretokenizer: Pretokenizer) -> dict[str, Pretokenizer]:
    return dict.fromkeys(names.split(), pretokenizer)


_llama3 = _cut(LLAMA3)
_deepseek3 = _cut(r"\p{N}{1,3}", CJK, DEEPSEEK3)
_tiny_aya = _cut(r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O)

PRETOKENIZERS: dict[str, Pretokenizer] = {
    "default": Pretokenizer(patterns=DEFAULT),
    **_named(
        "gpt-2 phi-2 mpt olmo jais trillion granite-docling gigachat a.x-4.0 mellum modern-bert exaone4 "
        "jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe",
        _cut(GPT2),
    ),
    **_named(
        "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
        _cut(r"\p{N}", GPT2),
    ),
    **_named(
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
        replace(_llama3, ignores_merges=True, adds_bos=True),
    ),
    **_named("dbrx smaug-bpe chatglm-bpe glm4", _llama3),
    **_named(
        "qwen2 deepseek-r1-qwen kormo f2llmv2 stablelm2 hunyuan megrez solar-open grok-2",
        _cut(QWEN2),
    ),
    "qwen35": _cut(QWEN35),
    "ufakzeka": _cut(_any(WORD, r"\p{N}", SYMBOLS, SPACES)),
    "laguna": _cut(r"[^\n]+|[\n]+", QWEN2),
    "tekken": replace(_cut(TEKKEN), ignores_merges=True, adds_bos=True),
    **_named("gpt-4o llama4 kanana2 talkie minimax-m2", _cut(GPT4O)),
    "granite-embed-multi-97m": replace(_cut(GPT4O), ignores_merges=True),
    **_named("tiny_aya cohere2moe", _tiny_aya),
    **_named("deepseek-v3 hunyuan-dense hy_v4 joyai-llm", _deepseek3),
    "spark2_5": _cut(r"\p{N}{1,3}", CJK, SPARK, r"\p{N}"),
    "deepseek-llm": Pretokenizer(patterns=DEEPSEEK_LLM),
    "deepseek-coder": Pretokenizer(patterns=DEEPSEEK_CODER),
    "falcon": _cut(r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"),
    "youtu": replace(_cut(YOUTU_SCRIPTS, YOUTU), ignores_merges=True),
    "jais-2": _cut(JAIS2),
    **_named("bloom poro-chat gpt3-finnish", _cut(BLOOM)),
    "viking": _cut(BLOOM, r"\p{N}"),
    "chameleon": replace(Pretokenizer(patterns=CHAMELEON), adds_bos=True),
    **_named("bailingmoe bailingmoe2 llada-moe", _cut(BAILING)),
    "seed-coder": _cut(SEED),
    "exaone-moe": _cut(EXAONE_MOE),
    "minicpm5": replace(
        _cut(r"\p{N}{1,3}", _any(CONTRACTIONS, WORD, r"\p{N}+", SYMBOLS, SPACES)),
        ignores_merges=True,
    ),
    "afmoe": _cut(DIGITS_FROM_THE_RIGHT, AFMOE_SCRIPTS, DEEPSEEK3),
    "superbpe": _cut(r"\p{N}+", DIGITS_FROM_THE_RIGHT),
}


def pretokenizer(name: str) -> Pretokenizer:
    """Raises Unsupported."""
    found = PRETOKENIZERS.get(name)
    if found is None:
        raise Unsupported(f'pre-tokenizer "{name[:64]}" is not supported yet')
    return found
