"""One file a model family: configuration, name map and the few tensors that need more."""

from converters.errors import unsupported_architecture

MODULES: dict[str, str] = {"llama": "llama"}
"""GGUF's `general.architecture` to the file here that knows it. Nothing without a fixture in tests/."""


def require_supported(architecture: str) -> None:
    """Raises Unsupported (`architecture "x" is not supported yet`). Imports nothing heavy."""
    if architecture not in MODULES:
        raise unsupported_architecture(architecture)
