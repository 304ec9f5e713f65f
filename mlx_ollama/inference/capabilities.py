"""What a request needs of its model; refuse what the model cannot do (contract 6.3)."""

from collections.abc import Collection

from mlx_ollama.api.messages import Think
from mlx_ollama.durations import quote
from mlx_ollama.errors import MissingCapability


def require_completion(capabilities: Collection[str], sent: str, what: str) -> None:
    """`what` is `chat` or `generate`; `sent` is the name as the request has it."""
    if "image" in capabilities:
        raise MissingCapability("image generation models are not currently supported")
    if "completion" not in capabilities:
        raise MissingCapability(f"{quote(sent)} does not support {what}")


def require(capabilities: Collection[str], full_name: str, needed: Collection[str]) -> None:
    """Every missing one on a line of its own."""
    missing = [name for name in needed if name not in capabilities]
    if missing:
        raise MissingCapability(
            "\n".join(f"{full_name} does not support {name}" for name in missing)
        )


def resolve_think(capabilities: Collection[str], sent: str, think: Think) -> Think:
    """Thinking models think unless told not to; None for the others."""
    if "thinking" in capabilities:
        return True if think is None else think
    if think:
        raise MissingCapability(f"{quote(sent)} does not support thinking")
    return None
