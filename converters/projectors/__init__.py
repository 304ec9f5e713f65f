"""Vision towers in GGUF: one file a kind of projector, with `PROJECTOR`.

A tower comes in a file of its own (`clip`), or among a model's tensors in Ollama's words; either way it is seen as an
inventory in the words of current projector files, blocks called `blk.N.` (`view.py`).
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from converters.errors import Unsupported
from converters.inventory import Inventory

if TYPE_CHECKING:  # it imports numpy, and servers ask what is supported
    from converters.projectors.projector import Projector

# `clip.projector_type` to the module here.
TYPES: Mapping[str, str] = {
    "gemma3": "gemma3",
    "mlp": "llava",
    "qwen2.5vl_merger": "qwen2_5_vl",
}


def require_supported(projector: Inventory) -> None:
    """Raises Unsupported (`projector "x" is not supported yet`)."""
    kind = type_of(projector)
    if kind not in TYPES:
        raise Unsupported(f'projector "{kind[:64]}" is not supported yet')


def type_of(projector: Inventory) -> str:
    """Old files of LLaVA do not say it."""
    return str(projector.metadata.get("clip.projector_type", "mlp"))


def load(projector: Inventory) -> "Projector":
    """Raises Unsupported."""
    require_supported(projector)
    return import_module(f"converters.projectors.{TYPES[type_of(projector)]}").PROJECTOR
