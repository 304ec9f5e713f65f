"""What a quantisation's name means: which type each tensor becomes. Pure: names and shapes only.

`first_last_third` is the rule of llama.cpp's K-quants and Ollama's policies: layers of the first and last eighth, and
every third between, get more bits in the projections that suffer most. More bits means 8: Ollama's loader reads
affine types of 4 and 8 bits only.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from converters.errors import Unsupported
from converters.weights import Packing

MIN_VALUES = 1024
GROUPS = (64, 32)  # tried in turn, where a row is no multiple of the recipe's own
_LAYER = re.compile(r"\.(?:layers|blocks|layer|h)\.(\d+)\.")
_KEPT = re.compile(
    r"norm|\bln_|_ln\b|\.bias$|router|\.gate\.weight$|shared_expert_gate|vision|visual|multi_modal|connector"
    r"|conv1d|\.A_log$|\.D$|dt_bias|sinks|position_embedding|token_type|rel_pos|altup|pooler|_Dense\."
)
_SENSITIVE = ("v_proj.weight", "down_proj.weight")
_EXPERTS = (".experts.", ".switch_mlp.", ".switch_glu.")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`base` for most matrices; `head` for embeddings and the output; `more` where `wants_more` says so."""

    base: Packing
    head: Packing
    more: Packing
    wants_more: Callable[[str, int, int], bool]


def _int(bits: int, group: int) -> Packing:
    return Packing(name=f"int{bits}", group_size=group)


def first_last_third(name: str, layer: int, layers: int) -> bool:
    eighth = layers // 8
    chosen = layer < eighth or layer >= layers * 7 // 8 or (layer - eighth) % 3 == 2
    return chosen and name.endswith(_SENSITIVE)


def _first_eighth(name: str, layer: int, layers: int) -> bool:
    return layer < layers // 8 and name.endswith(_SENSITIVE)


def _every_sensitive(name: str, layer: int, layers: int) -> bool:
    return name.endswith((*_SENSITIVE, "k_proj.weight"))


def _sensitive_outside_experts(name: str, layer: int, layers: int) -> bool:
    return _every_sensitive(name, layer, layers) and not any(part in name for part in _EXPERTS)


def _never(name: str, layer: int, layers: int) -> bool:
    return False


def _floating(mode: str, group: int, head: Packing) -> Recipe:
    packing = Packing(name=mode, group_size=group)
    return Recipe(base=packing, head=head, more=head, wants_more=_sensitive_outside_experts)


EIGHT = _int(8, 64)
MXFP8 = Packing(name="mxfp8", group_size=32)
RECIPES = {
    "Q8_0": Recipe(base=_int(8, 32), head=_int(8, 32), more=_int(8, 32), wants_more=_never),
    "INT8": Recipe(base=EIGHT, head=EIGHT, more=EIGHT, wants_more=_never),
    "Q4_K_M": Recipe(base=_int(4, 32), head=EIGHT, more=EIGHT, wants_more=first_last_third),
    "Q4_K_S": Recipe(base=_int(4, 32), head=EIGHT, more=EIGHT, wants_more=_first_eighth),
    "Q4_0": Recipe(base=_int(4, 32), head=EIGHT, more=EIGHT, wants_more=_never),
    "INT4": Recipe(base=_int(4, 64), head=EIGHT, more=EIGHT, wants_more=_every_sensitive),
    "MXFP4": _floating("mxfp4", 32, MXFP8),
    "MXFP8": Recipe(base=MXFP8, head=MXFP8, more=MXFP8, wants_more=_never),
    "NVFP4": _floating("nvfp4", 16, MXFP8),
}
CASTS = {"F32": "F32", "F16": "F16", "BF16": "BF16"}
ALIASES = {"Q4_K": "Q4_K_M"}


def canonical(quantize: str) -> str:
    """The recipe's name in upper case. Raises Unsupported."""
    name = ALIASES.get(quantize.upper(), quantize.upper())
    if name not in RECIPES and name not in CASTS:
        raise Unsupported(f"unsupported quantization type {name}")
    return name


def decide(recipe: Recipe, name: str, shape: tuple[int, ...], layers: int) -> Packing | None:
    """What a tensor becomes; None: it stays as it is."""
    values = 1
    for n in shape:
        values *= n
    if len(shape) not in (2, 3) or values < MIN_VALUES or _KEPT.search(name):
        return None
    if not name.endswith(".weight"):
        return None
    return _aligned(_wanted(recipe, name, layers), shape[-1])


def _wanted(recipe: Recipe, name: str, layers: int) -> Packing:
    if "embed" in name or name.startswith(("lm_head", "output.", "model.lm_head")):
        return recipe.head
    found = _LAYER.search(name)
    layer = int(found[1]) if found else -1
    return recipe.more if layer >= 0 and recipe.wants_more(name, layer, layers) else recipe.base


def _aligned(packing: Packing, columns: int) -> Packing | None:
    """The packing, with a smaller group where rows are no multiple of its own; None where none fits."""
    if columns % packing.group_size == 0:
        return packing
    if not packing.name.startswith("int"):
        return None
    smaller = [group for group in GROUPS if group < packing.group_size and columns % group == 0]
    return Packing(name=packing.name, group_size=smaller[0]) if smaller else None
