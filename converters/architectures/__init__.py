"""One file a model family: configuration, name map and the few tensors that need more.

A family's file is named after GGUF's `general.architecture` (`-` as `_`) and has `FAMILY`.
"""

from converters.errors import unsupported_architecture

SUPPORTED = frozenset({
    "gemma2",
    "gemma3",
    "gpt-oss",
    "gptoss",  # the same in Ollama's words
    "granite",
    "llama",
    "olmo2",
    "qwen2",
    "qwen3",
    "qwen3moe",
})  # fmt: skip
"""Nothing comes in without a fixture in tests/: an unproven family is refused, not guessed at."""


def require_supported(architecture: str) -> None:
    """Raises Unsupported (`architecture "x" is not supported yet`). Imports nothing heavy."""
    if architecture not in SUPPORTED:
        raise unsupported_architecture(architecture)
