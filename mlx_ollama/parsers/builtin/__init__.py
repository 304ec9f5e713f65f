"""The built-in parsers by Ollama's names, one file a format."""

from mlx_ollama.parsers.builtin import nemotron, passthrough, qwen3, qwen3_5, qwen3_coder
from mlx_ollama.parsers.builtin.builtin import Builtin

BUILTINS: dict[str, Builtin] = {
    **nemotron.NAMES,
    **passthrough.NAMES,
    **qwen3.NAMES,
    **qwen3_5.NAMES,
    **qwen3_coder.NAMES,
}
