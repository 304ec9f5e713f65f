"""`python -m benchmarks.bare FOLDER`: mlx_lm.stream_generate and nothing else, for comparison.

Reads lines of JSON from standard input, {"prompt": …, "tokens": …}, and answers each with one:
{"first": seconds, "total": seconds, "cpu": seconds, "tokens": number}. Weights are dense float32 on the CPU, as ours.
"""

import json
import sys
import time
from typing import Any


def load(folder: str) -> tuple[Any, Any]:
    import mlx.core as mx
    from mlx.utils import tree_map
    from mlx_lm import load as load_model
    from mlx_lm.utils import dequantize_model

    model, tokenizer = load_model(folder)[:2]
    if not mx.metal.is_available():
        model = dequantize_model(model)
        model.update(tree_map(lambda array: array.astype(mx.float32), model.parameters()))
    return model, tokenizer


def generate(model: Any, tokenizer: Any, prompt: str, tokens: int) -> dict[str, float]:
    from mlx_lm import stream_generate

    started, cpu, first, count = time.perf_counter(), time.process_time(), 0.0, 0
    for _ in stream_generate(model, tokenizer, prompt, max_tokens=tokens):
        first = first or time.perf_counter() - started
        count += 1
    total = time.perf_counter() - started
    spent = time.process_time() - cpu
    return {"first": first, "total": total, "cpu": spent, "tokens": count}


def main() -> None:
    model, tokenizer = load(sys.argv[1])
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(generate(model, tokenizer, asked["prompt"], asked["tokens"])), flush=True)


if __name__ == "__main__":
    main()
