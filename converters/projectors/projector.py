"""What one file of a kind of projector declares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converters.architectures.family import Config, Family, Names, Source
from converters.gguf.cursor import invalid
from converters.gguf.hyperparameters import Hyperparameters
from converters.inventory import Inventory

MEAN, STD = "image_mean", "image_std"
BLOCKS: Names = {  # of SigLIP and CLIP
    "ln1": "layer_norm1",
    "ln2": "layer_norm2",
    **{f"attn_{part}": f"self_attn.{part}_proj" for part in "qkv"},
    "attn_out": "self_attn.out_proj",
    "ffn_up": "mlp.fc1",
    "ffn_down": "mlp.fc2",
}


class Words:
    """The ids of a model's special tokens by their text."""

    def __init__(self, inventory: Inventory) -> None:
        tokens: Sequence[str] = inventory.metadata.get("tokenizer.ggml.tokens", ())
        if isinstance(tokens, str | int | float):
            invalid('key "tokenizer.ggml.tokens" is no list')
        marked = ((place, str(token)) for place, token in enumerate(tokens))
        self._ids = {token: place for place, token in marked if "<" in token}

    def find(self, *texts: str) -> int | None:
        """The id of the first text that there is."""
        return next((self._ids[text] for text in texts if text in self._ids), None)

    def last(self, beginning: str) -> int | None:
        found = [place for text, place in self._ids.items() if text.startswith(beginning)]
        return max(found, default=None)


@dataclass(frozen=True, kw_only=True)
class Projector:
    """`family.configure` gives vision_config from the tower's view; `configure` what stands beside it in config.json.

    `model_type` is the whole model's in transformers' words, `architectures` the text models that it goes with; `prepare`
    changes the view where tensors are to be joined.
    """

    model_type: str
    architectures: frozenset[str]
    family: Family
    configure: Callable[[Source, Words], Config]
    prepare: Callable[[Inventory], Inventory] = lambda view: view

    def processor(self, source: Source) -> Mapping[str, Any]:
        """The image processor's settings, as far as the file says them."""
        return {key: three_numbers(source, key) for key in (MEAN, STD) if key in source.h}


def three_numbers(source: Source, key: str) -> list[float]:
    """One for each colour."""
    stated = source.h.raw(key)
    values = [] if isinstance(stated, str | int | float) else list(stated)
    kind = (int, float)
    if len(values) != 3 or not all(isinstance(v, kind) and 0 < v < 1e3 for v in values):
        invalid(f'key "clip.vision.{key}" is out of range')
    return [float(value) for value in values]


def vision_source(view: Inventory) -> Source:
    """A tower's view, asked for keys without `clip.vision.`."""
    source = Source.__new__(Source)
    source.inventory = view
    source.h = Hyperparameters(view.metadata, "clip.vision")
    source.num_layers = source.h.count("block_count", maximum=1024)
    return source


def vit_config(source: Source) -> Config:
    """vision_config of SigLIP and CLIP."""
    h = source.h
    return {
        "hidden_size": h.count("embedding_length"),
        "intermediate_size": h.count("feed_forward_length"),
        "num_hidden_layers": source.num_layers,
        "num_attention_heads": h.count("attention.head_count", maximum=4096),
        "image_size": h.count("image_size", maximum=1 << 14),
        "patch_size": h.count("patch_size", maximum=1024),
        "layer_norm_eps": h.number("attention.layer_norm_epsilon", 1e-6),
    }
