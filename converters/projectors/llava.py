"""LLaVA 1.5: CLIP, and two linear layers. A file holds the layers that are used, or says which it takes."""

from converters.architectures.family import Config, Family, Rule, Source
from converters.projectors.projector import BLOCKS, Projector, Words, vit_config

TOWER, OUTER = "vision_tower", "multi_modal_projector"


def configure(source: Source) -> Config:
    """Neither kind of gelu named means CLIP's own."""
    metadata = source.inventory.metadata
    named = {"clip.use_gelu": "gelu_pytorch_tanh", "clip.use_silu": "silu"}
    found = (activation for key, activation in named.items() if metadata.get(key))
    return vit_config(source) | {"hidden_act": next(found, "quick_gelu")}


def beside(source: Source, words: Words) -> Config:
    layer = source.h.count("feature_layer", source.num_layers, maximum=source.num_layers)
    # Vicuna's vocabulary has no word for an image: nor is its unknown token ever written.
    image = words.find("<image>", "<unk>")
    return {
        "vision_feature_layer": layer,
        "vision_feature_select_strategy": "default",
        "image_token_index": 0 if image is None else image,
        "projector_hidden_act": "gelu",
    }


PROJECTOR = Projector(
    model_type="llava",
    architectures=frozenset({"llama"}),
    configure=beside,
    family=Family(
        configure=configure,
        blocks=BLOCKS,
        layers=f"{TOWER}.encoder.layers",
        outer={
            "v.class_embd": Rule(to=f"{TOWER}.embeddings.class_embedding", bare=True),
            "v.patch_embd": f"{TOWER}.embeddings.patch_embedding",
            "v.position_embd": f"{TOWER}.embeddings.position_embedding",
            "v.pre_ln": f"{TOWER}.pre_layrnorm",
            "mm.0": f"{OUTER}.linear_1",
            "mm.2": f"{OUTER}.linear_2",
        },
        unused=frozenset({"v.post_ln.weight", "v.post_ln.bias"}),
    ),
)
