"""Makes model.gguf.xz of each tiny encoder beside this file: `make_gguf.py LLAMA_CPP`, llama.cpp's source folder.

The vocabulary is made up: only weights and hyperparameters are compared. Nomic's converter wants its authors' names.
"""

import json
import lzma
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/gguf-py"]

import torch  # noqa: E402
from conversion import base, bert, gemma  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"▁w{i}" for i in range(91))]


def vocabulary(self: Any) -> None:
    writer = self.gguf_writer
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * 5 + [1] * 91)
    writer.add_token_type_count(2)
    for name, token in (("bos", 2), ("eos", 3), ("sep", 3), ("pad", 0), ("unk", 1)):
        getattr(writer, f"add_{name}_token_id")(token)


def nomic(source: Path, folder: Path) -> None:
    """The authors' names, q, k and v in one, and the keys of their configuration."""
    config = json.loads((source / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    config |= {
        "architectures": ["NomicBertModel"],
        "n_positions": 8192,
        "max_trained_positions": 2048,
        "n_inner": inner,
        "n_embd": hidden,
        "n_layer": config["num_hidden_layers"],
        "n_head": config["num_attention_heads"],
        "activation_function": "swiglu",
        "layer_norm_epsilon": config["layer_norm_eps"],
        "rotary_emb_base": config["rope_parameters"]["rope_theta"],
        "rotary_emb_fraction": 1.0,
    }
    config |= dict.fromkeys(
        ("causal", "qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias", "prenorm", "rotary_emb_interleaved"), False
    )  # fmt: skip
    config["rotary_emb_scale_base"] = None
    (folder / "config.json").write_text(json.dumps(config))
    names = {
        "self_attn.o_proj": "attn.out_proj", "mlp.up_proj": "mlp.fc11", "mlp.gate_proj": "mlp.fc12",
        "mlp.down_proj": "mlp.fc2", "post_attention_layernorm": "norm1", "post_mlp_layernorm": "norm2",
        "embeddings.LayerNorm": "emb_ln",
    }  # fmt: skip
    weights = load_file(source / "model.safetensors")
    made: dict[str, Any] = {}
    for name, value in weights.items():
        if ".q_proj." in name:
            fused = [weights[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            made["encoder." + name.replace("self_attn.q_proj", "attn.Wqkv")] = torch.cat(fused)
        elif "k_proj" not in name and "v_proj" not in name and not name.startswith("pooler"):
            new = name
            for theirs, authors in names.items():
                new = new.replace(theirs, authors)
            made[f"encoder.{new}" if new.startswith("layers") else new] = value
    save_file(made, folder / "model.safetensors")


def main() -> None:
    kinds = {
        "bert": bert.BertModel,
        "xlm-roberta": bert.RobertaModel,
        "nomic_bert": bert.NomicBertModel,
        "modernbert": bert.ModernBertModel,
        "gemma3_text": gemma.EmbeddingGemma,
    }
    for name, kind in kinds.items():
        kind.set_vocab = vocabulary
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            words = {"model": {"type": "WordPiece", "vocab": TOKENS}, "added_tokens": []}
            (folder / "tokenizer.json").write_text(json.dumps(words))
            if name == "nomic_bert":
                nomic(HERE / name, folder)
            else:
                for file in ("config.json", "model.safetensors"):
                    (folder / file).write_bytes((HERE / name / file).read_bytes())
            (folder / "1_Pooling").mkdir()
            (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
            pooling = {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}
            (folder / "modules.json").write_text(json.dumps([pooling]))
            out = folder / "out.gguf"
            kind(folder, base.gguf.LlamaFileType.MOSTLY_F16, out, model_name=name).write()
            (HERE / name / "model.gguf.xz").write_bytes(lzma.compress(out.read_bytes()))


if __name__ == "__main__":
    main()
