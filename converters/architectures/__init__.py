"""One file a model family: configuration, name map and the few tensors that need more.

A family's file is named after GGUF's `general.architecture` (`-` as `_`) and has `FAMILY`.
"""

from converters.errors import unsupported_architecture

SUPPORTED = frozenset({
    "bert", "cohere2", "command-r", "deepseek2", "ernie4_5", "exaone4", "falcon-h1", "gemma", "gemma-embedding", "gemma2", "gemma3", "gemma4",
    "glm4", "glm4moe", "gpt-oss", "gpt2", "granite", "granitehybrid", "granitemoe", "hunyuan-dense", "lfm2",
    "llama", "mamba2", "mistral3", "modern-bert", "nemotron", "nomic-bert", "olmo2", "phi2", "phi3", "qwen2", "qwen25vl", "qwen2moe", "qwen2vl", "qwen3", "qwen35", "qwen35moe",
    "qwen3moe", "qwen3next", "seed_oss", "smollm3", "stablelm", "starcoder2",
    "gptoss",  # gpt-oss in Ollama's words
})  # fmt: skip
"""Nothing comes in without a fixture in tests/: an unproven family is refused, not guessed at."""


def require_supported(architecture: str) -> None:
    """Raises Unsupported (`architecture "x" is not supported yet`). Imports nothing heavy."""
    if architecture not in SUPPORTED:
        raise unsupported_architecture(architecture)
