"""What one file of a model family declares, and the words it declares it in."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from numpy.typing import NDArray

from converters.gguf.cursor import invalid
from converters.gguf.hyperparameters import MAX_LAYERS, Hyperparameters
from converters.inventory import Inventory, Tensor

Config = dict[str, Any]
Array = NDArray[Any]
RowOrder = Callable[[Config, int], Array]
"""(config, number of rows) → for each output row the index of the source row."""
RowSlice = Callable[[Config, int], tuple[int, int]]
"""(config, number of rows) → first row and number of rows."""
Values = Callable[[Array], Array]
"""An elementwise function of float32 values, for tensors that are never quantised."""
Reshape = Callable[[tuple[int, ...]], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Where a GGUF tensor goes, when its name alone does not say it.

    Several tensors may go to one output: their `place` orders them, and the rule of place 0 holds for all.
    """

    to: str
    rows: RowOrder | None = None
    columns: RowOrder | None = None
    slice_rows: RowSlice | None = None
    values: Values | None = None
    shape: Reshape | None = None
    place: int = 0
    bare: bool = False  # a parameter, not a module's weight: nothing is appended to `to`
    wide: bool = False  # float32 whatever the dtype


Names = Mapping[str, str | Rule | tuple[Rule, ...]]


@dataclass(frozen=True, kw_only=True)
class Family:
    """`blocks` maps what follows `blk.N.` (without `.weight`, `.bias`) to what follows `model.layers.N.`."""

    configure: Callable[["Source"], Config]
    blocks: Names
    outer: Names = field(default_factory=lambda: OUTER)
    layers: str = "model.layers"
    norm_shift: float = 0.0  # added to every norm weight: -1 where the class adds 1 itself
    unused: frozenset[str] = frozenset()  # names without `blk.N.`, of what the class does without

    def leaves_out(self, name: str, config: Config) -> bool:
        """Tables that went into the config, and layers past the last (drafts of next tokens)."""
        block = _BLOCK.match(name)
        if block and int(block[1]) >= config["num_hidden_layers"]:
            return True
        return name in TABLES or (block[2] if block else name) in self.unused


_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
TABLES = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
OUTER: Names = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
ATTENTION: Names = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
}
MLP: Names = {
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
STANDARD: Names = {**ATTENTION, **MLP}
SANDWICH: Names = {  # a norm before and after each half of a layer
    "ffn_norm": "pre_feedforward_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
EXPERTS: Names = {
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.switch_mlp.gate_proj",
    "ffn_up_exps": "mlp.switch_mlp.up_proj",
    "ffn_down_exps": "mlp.switch_mlp.down_proj",
}


SHARED_EXPERTS: Names = {  # experts that serve every token
    "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
    "ffn_up_shexp": "mlp.shared_experts.up_proj",
    "ffn_down_shexp": "mlp.shared_experts.down_proj",
}


def as_row(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A vector as a matrix of one row."""
    return (1, shape[-1])


def as_convolution(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(channels, width) as MLX's depthwise convolutions have it; a bias as it is."""
    return (*shape, 1) if len(shape) > 1 else shape


def flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (prod(shape),)


class Source:
    """An inventory as a family's `configure` asks it."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.h = Hyperparameters(inventory.metadata, inventory.architecture)
        self.num_layers = self.h.count("block_count", maximum=MAX_LAYERS)

    def has(self, name: str) -> bool:
        return name in self.inventory.by_name

    def tensor(self, name: str) -> Tensor:
        found = self.inventory.by_name.get(name)
        if found is None:
            invalid(f'tensor "{name}" is missing')
        return found

    def rows(self, name: str) -> int:
        """Output features: the second dimension of a matrix or stack, the length of a vector."""
        return num_rows(self.tensor(name))

    def columns(self, name: str) -> int:
        return self.tensor(name).shape[0]


def num_rows(tensor: Tensor) -> int:
    """Of a matrix or each matrix of a stack; the length of a vector."""
    return tensor.shape[min(1, len(tensor.shape) - 1)]


def unpermute(heads: str) -> RowOrder:
    """llama.cpp interleaves the two halves of each head of q and k; back to halves.

    `heads`: the config's key with the number of heads.
    """

    def order(config: Config, rows: int) -> Array:
        import numpy as np

        count = config[heads]
        if rows % (2 * count):
            invalid("the rows of q and k are not whole heads")
        return np.arange(rows).reshape(count, -1, 2).swapaxes(1, 2).reshape(-1)

    return order
