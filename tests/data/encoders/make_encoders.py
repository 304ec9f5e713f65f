"""Makes the tiny encoders beside this file, with reference answers. Needs torch and transformers 5."""

import json
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel

HERE = Path(__file__).parent
SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
FAMILIES = {
    "bert": {},
    "xlm-roberta": {"pad_token_id": 1, "type_vocab_size": 1},
    "nomic_bert": {},
    "modernbert": {"local_attention": 8, "pad_token_id": 0},
    "gemma3_text": {
        "use_bidirectional_attention": True,
        "sliding_window": 8,
        "sliding_window_pattern": 3,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "query_pre_attn_scalar": 24,
    },
}
IDS = [[5, 17, 23, 42, 7, 91, 33, 12, 64, 3, 28, 77, 55], [5, 60, 9, 3], [5, 3]]


def make(family: str, more: dict[str, object]) -> None:
    torch.manual_seed(7)
    config = AutoConfig.for_model(family, **SIZES, **more)
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.half().save_pretrained(HERE / family)
    # Read back: `.float()` would keep buffers (rotary angles) rounded to half precision.
    model = AutoModel.from_pretrained(
        HERE / family, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    pad = config.pad_token_id or 0
    width = max(map(len, IDS))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in IDS])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in IDS])
    with torch.no_grad():
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    golden = {
        "ids": IDS,
        "hidden": [
            [[round(v, 5) for v in token] for token in hidden[i, : len(row)].tolist()]
            for i, row in enumerate(IDS)
        ],
    }
    (HERE / family / "golden.json").write_text(json.dumps(golden))


for name, extra in FAMILIES.items():
    make(name, extra)
