"""GGUF and Safetensors to MLX weights; start at `convert.py`. Knows nothing of mlx_ollama.

inventory (what a source holds) → plan (what each output tensor is made of) → stream of tensors → sink.
"""

VERSION = "2"
"""Part of cache keys: raised whenever the same source would give other bytes."""
