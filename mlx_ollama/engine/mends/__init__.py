"""Where an mlx-lm model class computes something else than its model, mended: one file a class.

`engine/mlx_models.py` calls `apply` after importing a class's module. A mend's file is named after the
module and has `mend(module)`; the test that shows the fault lies in tests/unit/converters.
"""

from importlib import import_module
from types import ModuleType

MENDED = frozenset(
    {
        "ernie4_5_moe",
        "gemma",
        "gemma2",
        "gemma3_text",
        "glm",
        "gpt_bigcode",
        "gpt_neox",
        "gpt_oss",
        "jamba",
        "phi3",
        "starcoder2",
    }
)


def apply(model_type: str, module: ModuleType) -> None:
    """Mend `mlx_lm.models.<model_type>` in place; nothing to do for most."""
    if model_type in MENDED and not getattr(module, "_mended", False):
        import_module(f"{__name__}.{model_type}").mend(module)
        module._mended = True  # type: ignore[attr-defined]
