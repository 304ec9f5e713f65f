"""Makes the fixtures in this folder: `python -m tests.data.checkpoints.make_checkpoints [FAMILY…]`.

Needs torch and transformers 5. Each family's tiny model is saved as transformers saves it; its weights are
then made anew from their names, and transformers, in float32, gives the answers. No weight is stored.
"""

import json
import lzma
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open

from tests.data.checkpoints.families import FAMILIES
from tests.unit.converters.checkpoint_weights import made, safetensors

HERE = Path(__file__).parent
PROMPTS = [
    (torch.randperm(90, generator=torch.Generator().manual_seed(i))[:21] + 3).tolist()
    for i in range(8)
]
STEPS = 12
CLEAR = 0.01  # a token that leads by less may differ


def make(name: str) -> None:
    settings = dict(FAMILIES[name])
    config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    with tempfile.TemporaryDirectory() as folder:
        model = transformers.AutoModelForCausalLM.from_config(config)
        model.to(torch.bfloat16).save_pretrained(folder)
        shapes = _fill(Path(folder))
        fixture: dict[str, Any] = {
            "config": json.loads((Path(folder) / "config.json").read_text()),
            "tensors": shapes,
        }
        whole, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        assert not any(
            info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")
        ), info
        fixture |= _golden(whole.eval())
    packed = lzma.compress(json.dumps(fixture, separators=(",", ":")).encode(), preset=9)
    (HERE / f"{name}.json.xz").write_bytes(packed)
    print(name, len(packed), len(fixture["greedy"]), len(fixture["clear"]), fixture["greedy"])


def _fill(folder: Path) -> dict[str, list[int]]:
    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        shapes = {key: list(file.get_slice(key).get_shape()) for key in list(file.keys())}
    path.write_bytes(safetensors({key: made(key, tuple(s)) for key, s in shapes.items()}))
    return shapes


@torch.no_grad()
def _golden(model: Any) -> dict[str, Any]:
    ids, greedy = _best(model)
    logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    top = logits.topk(2).values
    clear = [i for i, (a, b) in enumerate(top.tolist()) if a - b > CLEAR]
    return {
        "ids": ids,
        "last_logits": [round(x, 5) for x in logits[-1].tolist()],
        "argmax_each_position": logits.argmax(-1).tolist(),
        "clear": clear,
        "greedy": greedy,
    }


def _best(model: Any) -> tuple[list[int], list[int]]:
    """The first prompt that is continued longest without two tokens as good as each other."""
    answers = []
    for ids in PROMPTS:
        answers.append((ids, _greedy(model, ids)))
        if len(answers[-1][1]) == STEPS:
            break
    return max(answers, key=lambda answer: len(answer[1]))


def _greedy(model: Any, prompt: list[int]) -> list[int]:
    ids = list(prompt)
    for _ in range(STEPS):
        last = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        first, second = last.topk(2).values.tolist()
        if first - second < CLEAR:
            break
        ids.append(int(last.argmax()))
    return ids[len(prompt) :]


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for family in sys.argv[1:] or FAMILIES:
        try:
            make(family)
        except Exception as error:  # the others are made all the same
            print(f"{family}: {type(error).__name__}: {str(error)[:300]}")
