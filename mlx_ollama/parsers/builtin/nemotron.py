"""nemotron-3-nano and nemotron-3.5-nano: as qwen3.5."""

from mlx_ollama.parsers.builtin.qwen3_5 import NAMES as _QWEN

NAMES = {
    "nemotron-3-nano": _QWEN["qwen3.5"],
    "nemotron-3.5-nano": _QWEN["qwen3.5"],
}
