"""The only importer of mlx_lm.models.

mlx_lm's `__init__` imports transformers (1.1 s, 50 MB and a wide attack surface), so a bare package object
stands in for `mlx_lm`, and only its model and cache modules are imported. Where a class of mlx-lm is wrong,
`mlx_ollama/engine/mends/<model_type>.py` mends it; such a module may define

    def mend_config(config: dict[str, Any]) -> dict[str, Any]      before the model is built
    def mend_module(module: ModuleType) -> None                    once, after mlx_lm.models.<type> is imported
    def mend_weights(weights: dict[str, mx.array], config: dict[str, Any]) -> dict[str, mx.array]
                                                                   after the model's own sanitize
    def mend_model(model: nn.Module, config: dict[str, Any]) -> None   after the weights are in
"""

import importlib
import importlib.util
import sys
import types
from typing import Any, NamedTuple

RENAMED = {"mistral": "llama", "qwen2_5_vl": "qwen2_vl", "gemma3_text": "gemma3_text"}


def _register_bare_package() -> None:
    """Let `mlx_lm.models` be imported without running `mlx_lm/__init__.py`."""
    if "mlx_lm" in sys.modules:
        return
    spec = importlib.util.find_spec("mlx_lm")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("mlx-lm is not installed")
    package = types.ModuleType("mlx_lm")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["mlx_lm"] = package


_register_bare_package()
