"""A converted directory on MLX, and how far it is from a golden answer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_ollama.engine import mlx_models
from mlx_ollama.engine.loader import load_directory

TOP = 20


@dataclass(frozen=True)
class Answer:
    logits: list[list[float]]  # of every prompt position
    greedy: list[int]


def answer(folder: Path, ids: list[int], num_greedy: int, *, dense: bool) -> Answer:
    """Logits of a prompt, and what follows it greedily through the caches."""
    model = load_directory(folder, dense=dense).model
    caches = mlx_models.new_caches(model)
    logits: Any = np.asarray(model(mx.array([ids]), cache=caches).astype(mx.float32))[0]
    greedy = [int(logits[-1].argmax())]
    while len(greedy) < num_greedy:
        step = model(mx.array([greedy[-1:]]), cache=caches)
        greedy.append(int(np.asarray(step[0, -1].astype(mx.float32)).argmax()))
    return Answer(logits.tolist(), greedy)


def log_probabilities(logits: list[float]) -> np.ndarray[Any, Any]:
    values = np.array(logits, np.float64)
    values -= values.max()
    return values - np.log(np.exp(values).sum())


def top_difference(ours: list[float], golden: list[float]) -> float:
    """The largest difference among the golden's most likely tokens."""
    wanted = log_probabilities(golden)
    top = np.argsort(-wanted)[:TOP]
    return float(np.abs(log_probabilities(ours) - wanted)[top].max())


def same_greedy(ours: list[int], golden: dict[str, Any]) -> bool:
    """Whole lists; from a step whose best two are within 1e-2 on, another way is as good."""
    for mine, wanted, gap in zip(ours, golden["greedy"], golden["greedy_gap"], strict=True):
        if mine != wanted:
            return gap < 1e-2
    return True
