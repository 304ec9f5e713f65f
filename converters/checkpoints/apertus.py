"""Apertus: what transformers takes for granted, mlx-lm asks for."""

from typing import Any

from converters.checkpoints import Steps


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    given = {"mlp_bias": False, "post_norm": False, "qk_norm": True}
    return given | config, steps
