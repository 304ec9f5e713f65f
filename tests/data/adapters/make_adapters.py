"""Makes this folder's files: random rank-8 adapters for the zoo's llama as a GGUF and as PEFT writes them, and the
logits of the base with `scale * B @ A` added to its weights, by the model's formulas in numpy and float32.

`python tests/data/adapters/make_adapters.py`
"""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import save_file

HERE = Path(__file__).parent
BASE = HERE.parent / "zoo" / "llama" / "model-f16.gguf"
RANK, ALPHA = 8, 16.0
HEADS, KV_HEADS, HEAD, LAYERS = 4, 2, 16, 2
TOKENS = [3, 17, 101, 250, 9, 400, 33, 7]
NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# One module has an alpha and a rank of its own, which only PEFT can say.
OWN, OWN_RANK, OWN_ALPHA = "model.layers.1.mlp.down_proj", 4, 2.0
Array = np.ndarray[Any, Any]


def halves(weight: Array) -> Array:
    """Rows of q and k as Hugging Face has them, of llama.cpp's interleaved ones."""
    rows, columns = weight.shape
    return weight.reshape(rows // HEAD, HEAD // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def interleaved(weight: Array) -> Array:
    rows, columns = weight.shape
    return weight.reshape(rows // HEAD, 2, HEAD // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def base_weights() -> dict[str, Array]:
    reader = gguf.GGUFReader(str(BASE))
    found = {}
    for tensor in reader.tensors:
        shape = tuple(reversed(tensor.shape.tolist()))
        weight = np.array(tensor.data, np.float32).reshape(shape)
        is_rotated = tensor.name.endswith(("attn_q.weight", "attn_k.weight"))
        found[tensor.name] = halves(weight) if is_rotated else weight
    return found


def adapter(weights: dict[str, Array], own: bool) -> dict[str, tuple[Array, Array, float]]:
    generator = np.random.default_rng(7)
    parts = {}
    for layer in range(LAYERS):
        for name, module in NAMES.items():
            path = f"model.layers.{layer}.{module}"
            rank, alpha = (OWN_RANK, OWN_ALPHA) if own and path == OWN else (RANK, ALPHA)
            rows, columns = weights[f"blk.{layer}.{name}.weight"].shape
            a = generator.normal(size=(rank, columns), scale=0.05).astype(np.float16)
            b = generator.normal(size=(rows, rank), scale=0.05).astype(np.float16)
            parts[f"blk.{layer}.{name}.weight"] = (a, b, alpha / rank)
    return parts


def fused(
    weights: dict[str, Array], parts: dict[str, tuple[Array, Array, float]]
) -> dict[str, Array]:
    changed = dict(weights)
    for name, (a, b, scale) in parts.items():
        changed[name] = weights[name] + np.float32(scale) * (b.astype("f4") @ a.astype("f4"))
    return changed


def norm(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * weight


def rotate(x: Array) -> Array:
    """(heads, tokens, head)"""
    angles = np.arange(x.shape[1])[:, None] / 10000 ** (np.arange(HEAD // 2) / (HEAD // 2))
    cos, sin = np.cos(angles), np.sin(angles)
    first, second = x[..., : HEAD // 2], x[..., HEAD // 2 :]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def attention(x: Array, w: dict[str, Array], at: str) -> Array:
    q, k, v = (
        (x @ w[f"{at}.attn_{n}.weight"].T).reshape(len(x), -1, HEAD).swapaxes(0, 1) for n in "qkv"
    )
    k, v = np.repeat(rotate(k), HEADS // KV_HEADS, 0), np.repeat(v, HEADS // KV_HEADS, 0)
    scores = rotate(q) @ k.swapaxes(1, 2) / np.sqrt(HEAD)
    scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    out = (weights @ v).swapaxes(0, 1).reshape(len(x), -1)
    return out @ w[f"{at}.attn_output.weight"].T


def logits(w: dict[str, Array]) -> Array:
    x = w["token_embd.weight"][TOKENS]
    for layer in range(LAYERS):
        at = f"blk.{layer}"
        x = x + attention(norm(x, w[f"{at}.attn_norm.weight"]), w, at)
        h = norm(x, w[f"{at}.ffn_norm.weight"])
        gate = h @ w[f"{at}.ffn_gate.weight"].T
        gated = gate / (1 + np.exp(-gate)) * (h @ w[f"{at}.ffn_up.weight"].T)
        x = x + gated @ w[f"{at}.ffn_down.weight"].T
    return norm(x, w["output_norm.weight"]) @ w["output.weight"].T


def write_gguf(parts: dict[str, tuple[Array, Array, float]]) -> None:
    writer = gguf.GGUFWriter(HERE / "llama-lora.gguf", "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for name, (a, b, _) in parts.items():
        is_rotated = name.endswith(("attn_q.weight", "attn_k.weight"))
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", interleaved(b) if is_rotated else b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_peft(parts: dict[str, tuple[Array, Array, float]]) -> None:
    tensors: dict[str, Array] = {}
    for name, (a, b, _) in parts.items():
        _, layer, short, _ = name.split(".")
        path = f"base_model.model.model.layers.{layer}.{NAMES[short]}"
        tensors[f"{path}.lora_A.weight"] = a
        tensors[f"{path}.lora_B.weight"] = b
    folder = HERE / "llama-peft"
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    settings = {
        "alpha_pattern": {"layers.1.mlp.down_proj": OWN_ALPHA},
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": ALPHA,
        "lora_bias": False,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": RANK,
        "rank_pattern": {"layers.1.mlp.down_proj": OWN_RANK},
        "target_modules": sorted(m.rpartition(".")[2] for m in NAMES.values()),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def main() -> None:
    weights = base_weights()
    own, same = adapter(weights, own=True), adapter(weights, own=False)
    write_gguf(same)
    write_peft(own)
    wanted = {
        "tokens": TOKENS,
        "base": logits(weights)[-1].round(6).tolist(),
        "gguf": logits(fused(weights, same))[-1].round(6).tolist(),
        "peft": logits(fused(weights, own))[-1].round(6).tolist(),
    }
    (HERE / "logits.json").write_text(json.dumps(wanted) + "\n")


if __name__ == "__main__":
    main()
