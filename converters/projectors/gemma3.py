"""Gemma 3: SigLIP, pooled to a square of tokens. GGUF holds the norm with 1 added."""

from converters.architectures.family import Array, Config, Family, Rule, Source
from converters.gguf.cursor import invalid
from converters.projectors.projector import BLOCKS, Projector, Words, vit_config

POOLING = 4
TOWER, OUTER = "vision_tower", "multi_modal_projector"


def less_one(array: Array) -> Array:
    return array - 1.0


def configure(source: Source) -> Config:
    return vit_config(source) | {"hidden_act": "gelu_pytorch_tanh"}


def beside(source: Source, words: Words) -> Config:
    """Published files lack the row that stands for an image; any token that no text has does as well."""
    side = source.h.count("image_size") // source.h.count("patch_size")
    step = source.h.count("projector.scale_factor", POOLING, maximum=side)
    if side % step:
        invalid("the patches of an image are not whole tokens")
    image = words.find("<image_soft_token>")
    return {
        "mm_tokens_per_image": (side // step) ** 2,
        "image_token_index": words.last("<unused") if image is None else image,
        "boi_token_index": words.find("<start_of_image>"),
        "eoi_token_index": words.find("<end_of_image>"),
    }


PROJECTOR = Projector(
    model_type="gemma3",
    architectures=frozenset({"gemma3"}),
    configure=beside,
    family=Family(
        configure=configure,
        blocks=BLOCKS,
        layers=f"{TOWER}.encoder.layers",
        outer={
            "v.patch_embd": f"{TOWER}.embeddings.patch_embedding",
            "v.position_embd": f"{TOWER}.embeddings.position_embedding",
            "v.post_ln": f"{TOWER}.post_layernorm",
            "mm.input_projection": Rule(to=f"{OUTER}.mm_input_projection_weight", bare=True),
            "mm.soft_emb_norm": Rule(to=f"{OUTER}.mm_soft_emb_norm", values=less_one),
        },
    ),
)
